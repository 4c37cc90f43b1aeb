"""Ways to train a backbone: what this folder offers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.api import Offer, hookimpl

METHODS = (  # name and module, class, group, summary
    ("simclr", "SimCLR", "contrastive", "Contrast two views of an image against the batch."),
    ("mocov2", "MoCoV2", "contrastive", "Find an image's key among a queue of earlier ones."),
    ("mocov3", "MoCoV3", "contrastive", "Find an image's key among the batch's."),
    ("nnclr", "NNCLR", "contrastive", "Find the neighbour of the image's other view."),
    ("dcl", "DCL", "contrastive", "Contrast two views of an image against the other images alone."),
    ("ressl", "ReSSL", "distillation", "Keep how similar an image is to earlier ones."),
    ("byol", "BYOL", "distillation", "Predict what a momentum network makes of the other view."),
    ("simsiam", "SimSiam", "distillation", "Predict the other view, which takes no gradient."),
    ("dino", "DINO", "distillation", "Predict what a centred, sharpened teacher makes of other views."),
    ("vicreg", "VICReg", "decorrelation", "Pull two views together, keep variance, decorrelate dimensions."),
    ("barlow_twins", "BarlowTwins", "decorrelation", "Correlate each dimension with itself alone."),
    ("vibcreg", "VIbCReg", "decorrelation", "VICReg on whitened embeddings, with correlations."),
    ("lejepa", "LeJEPA", "decorrelation", "Make views agree and spread them like a Gaussian."),
    ("wmse", "WMSE", "decorrelation", "Pull whitened views together."),
    ("swav", "SwAV", "clustering", "Predict the prototypes of one view from the others."),
    ("deepcluster_v2", "DeepClusterV2", "clustering", "Predict the clusters of the epoch before."),
    ("mae", "MAE", "masked", "Predict the pixels of hidden patches."),
    ("rotnet", "RotNet", "pretext", "Tell by how many quarter turns an image was turned."),
    ("npid", "NPID", "contrastive", "Tell each image from all others by what they were when last seen."),
    ("supcon", "SupCon", "labels", "Pull the views of a class together: it looks at labels."),
    ("supervised", "Supervised", "labels", "Train with the labels: what SSL is measured against."),
    ("random", "Random", "baseline", "Train nothing: the floor every method has to beat."),
    ("pixels", "Pixels", "baseline", "Leave out the network: what raw pixels give."),
)

ALSO = {  # what methods are called elsewhere
    "mocov2": ("moco", "moco_v2"),
    "mocov3": ("moco_v3",),
    "barlow_twins": ("barlow", "bt"),
    "dcl": ("dclw", "decoupled_contrastive"),
    "mae": ("masked_autoencoder", "masked_image_modeling"),
    "npid": ("instdisc", "instance_discrimination"),
    "rotnet": ("rotation", "rotation_prediction"),
    "supervised": ("sup", "cross_entropy", "classifier", "labels"),
    "random": ("untrained", "random_init", "scratch", "baseline"),
    "deepcluster_v2": ("deepcluster",),
    "supcon": ("supervised_contrastive",),
    "lejepa": ("jepa", "sigreg"),
    "wmse": ("whitening", "w_mse"),
    "pixels": ("raw", "identity"),
}


@hookimpl
def bench_methods() -> Iterator[Offer]:
    """Offer the built-in methods."""
    for name, cls, group, summary in METHODS:
        yield Offer(name, f".{name}:{cls}", summary, group, ALSO.get(name, ()))
