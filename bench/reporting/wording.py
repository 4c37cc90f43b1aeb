"""Say what a setting is in words, for captions: one dictionary, and a rule for what is not in it."""

from __future__ import annotations

from collections.abc import Sequence

# how values of an axis are said, and what says that there are too many of them
WORDS = {
    "method": ("method {}", "method"),
    "backbone": ("backbone {}", "backbone"),
    "dataset": ("data set {}", "data set"),
    "eval_dataset": ("evaluated on {}", "evaluated data set"),
    "evaluator": ("evaluated by {}", "evaluator"),
    "label_frac": ("{} of the labels", "share of the labels"),
    "shots": ("{}", "number of shots"),
    "keep_one": ("{}", "keeping one image of each class"),
    "folder": ("of the folder {}", "folder"),
    "train.epochs": ("pretrained for {} epoch(s)", "number of epochs"),
    "train.batch_size": ("batches of {} image(s)", "batch size"),
    "train.image_size": ("images of {} pixels a side", "image size"),
    "train.lr": ("learning rate {}", "learning rate"),
    "train.weight_decay": ("weight decay {}", "weight decay"),
    "train.momentum": ("momentum {}", "momentum"),
    "train.warmup_epochs": ("{} epoch(s) of warm-up", "length of the warm-up"),
    "train.optimizer": ("optimised by {}", "optimiser"),
    "train.precision": ("trained in {}", "precision"),
    "dataset.max_train": ("{} training image(s)", "number of training images"),
    "dataset.fold": ("fold {} of the training data", "fold of the training data"),
    "backbone.stem": ("the {} stem", "stem"),
    "backbone.pretrained": ("pretrained weights: {}", "use of pretrained weights"),
}
PLURAL = "(s)"


def say_values(axis: str, values: Sequence[str]) -> str:
    """Return the values of an axis in words, e.g. `pretrained for 3 or 5 epochs`.

    Args:
        axis: its name. Of one that is not in `WORDS` the parts of the name are the words.
        values: as they read.
    """
    phrase, _ = WORDS.get(axis, (f"{_spell(axis)} {{}}", ""))
    ending = "" if list(values) == ["1"] else "s"
    return phrase.replace(PLURAL, ending).replace("{}", " or ".join(values))


def say_difference(axis: str) -> str:
    """Return in words that the values of an axis differ."""
    _, noun = WORDS.get(axis, ("", _spell(axis)))
    return f"{noun} differs"


def _spell(axis: str) -> str:
    return axis.replace(".", " ").replace("_", " ")
