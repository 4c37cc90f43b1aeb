"""Ways to train a backbone: what this folder offers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import Offer, hookimpl


@hookimpl
def bench_methods() -> Iterator[Offer]:
    """Offer the built-in methods."""
    yield Offer("simclr", ".simclr:SimCLR", "Contrast two views of an image against the batch.")
    yield Offer("vicreg", ".vicreg:VICReg", "Pull two views together, keep variance, decorrelate dimensions.")
    yield Offer("byol", ".byol:BYOL", "Predict what a momentum network makes of the other view.")
    yield Offer("swav", ".swav:SwAV", "Predict the prototypes of one view from the others.")
    yield Offer("mae", ".mae:MAE", "Predict the pixels of hidden patches.")
    yield Offer("wmse", ".wmse:WMSE", "Pull whitened views together.")
    yield Offer("rotnet", ".rotnet:RotNet", "Tell by how many quarter turns an image was turned.")
    yield Offer("npid", ".npid:NPID", "Tell each image from all others by what they were when last seen.")
    yield Offer(
        "deepcluster_v2", ".deepcluster_v2:DeepClusterV2", "Predict the clusters of the epoch before."
    )
    yield Offer(
        "supervised", ".supervised:Supervised", "Train with the labels: what SSL is measured against."
    )
    yield Offer("random", ".random:Random", "Train nothing: the floor every method has to beat.")
    yield Offer("pixels", ".pixels:Pixels", "Leave out the network: what raw pixels give.")
