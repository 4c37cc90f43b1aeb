"""Ways to train a backbone: what this folder offers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import Offer, hookimpl


@hookimpl
def bench_methods() -> Iterator[Offer]:
    """Offer the built-in methods."""
    yield Offer("simclr", ".simclr:SimCLR", "Contrast two views of an image against the batch.")
    yield Offer("mocov2", ".mocov2:MoCoV2", "Find an image's key among a queue of earlier ones.")
    yield Offer("mocov3", ".mocov3:MoCoV3", "Find an image's key among the batch's.")
    yield Offer("nnclr", ".nnclr:NNCLR", "Find the neighbour of the image's other view.")
    yield Offer("dcl", ".dcl:DCL", "Contrast two views of an image against the other images alone.")
    yield Offer("ressl", ".ressl:ReSSL", "Keep how similar an image is to earlier ones.")
    yield Offer("byol", ".byol:BYOL", "Predict what a momentum network makes of the other view.")
    yield Offer("simsiam", ".simsiam:SimSiam", "Predict the other view, which takes no gradient.")
    yield Offer("dino", ".dino:DINO", "Predict what a centred, sharpened teacher makes of other views.")
    yield Offer("vicreg", ".vicreg:VICReg", "Pull two views together, keep variance, decorrelate dimensions.")
    yield Offer("barlow_twins", ".barlow_twins:BarlowTwins", "Correlate each dimension with itself alone.")
    yield Offer("vibcreg", ".vibcreg:VIbCReg", "VICReg on whitened embeddings, with correlations.")
    yield Offer("lejepa", ".lejepa:LeJEPA", "Make views agree and spread them like a Gaussian.")
    yield Offer("swav", ".swav:SwAV", "Predict the prototypes of one view from the others.")
    yield Offer("mae", ".mae:MAE", "Predict the pixels of hidden patches.")
    yield Offer("supcon", ".supcon:SupCon", "Pull the views of a class together: it looks at labels.")
    yield Offer(
        "supervised", ".supervised:Supervised", "Train with the labels: what SSL is measured against."
    )
    yield Offer("random", ".random:Random", "Train nothing: the floor every method has to beat.")
    yield Offer("pixels", ".pixels:Pixels", "Leave out the network: what raw pixels give.")
