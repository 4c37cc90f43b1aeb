"""Everything a plugin author imports.

The names of the first block cost nothing to import: a catalogue needs no more. The others bring
torch or numpy with them, when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bench.config import NoSettings, setting
from bench.errors import BadData, BadPlugin, BadValue, Unsupported, UsageError, suggest
from bench.hookspecs import Family, Offer, hookimpl
from bench.keys import digest, seed_of
from bench.recipe import Recipe

if TYPE_CHECKING:
    from bench.collapse import embedding_std, rankme
    from bench.contract import (
        Backbone,
        Batch,
        Dataset,
        DatasetInfo,
        Embeddings,
        Images,
        Method,
        Place,
        Stream,
    )
    from bench.device import auto_precision
    from bench.evaluation import Evaluator, Features, Network, Scores, Task
    from bench.metrics import classification_scores, require_finite
    from bench.monitors import contrastive_monitors
    from bench.neighbours import first_largest, nearest, unit_rows, votes
    from bench.process import end_with_parent
    from bench.splits import Selection, choose, chosen_classes, stratified_holdout
    from bench.views import View

_HOMES = {
    "bench.collapse": ("embedding_std", "rankme"),
    "bench.contract": (
        "Backbone", "Batch", "Dataset", "DatasetInfo", "Embeddings", "Images", "Method", "Place", "Stream",
    ),
    "bench.device": ("auto_precision",),
    "bench.evaluation": ("Evaluator", "Features", "Network", "Scores", "Task"),
    "bench.metrics": ("classification_scores", "require_finite"),
    "bench.monitors": ("contrastive_monitors",),
    "bench.neighbours": ("first_largest", "nearest", "unit_rows", "votes"),
    "bench.process": ("end_with_parent",),
    "bench.splits": ("Selection", "choose", "chosen_classes", "stratified_holdout"),
    "bench.views": ("View",),
}  # fmt: skip

__all__ = [
    "Backbone",
    "BadData",
    "BadPlugin",
    "BadValue",
    "Batch",
    "Dataset",
    "DatasetInfo",
    "Embeddings",
    "Evaluator",
    "Family",
    "Features",
    "Images",
    "Method",
    "Network",
    "NoSettings",
    "Offer",
    "Place",
    "Recipe",
    "Scores",
    "Selection",
    "Stream",
    "Task",
    "Unsupported",
    "UsageError",
    "View",
    "auto_precision",
    "choose",
    "chosen_classes",
    "classification_scores",
    "contrastive_monitors",
    "digest",
    "embedding_std",
    "end_with_parent",
    "first_largest",
    "hookimpl",
    "nearest",
    "rankme",
    "require_finite",
    "seed_of",
    "setting",
    "stratified_holdout",
    "suggest",
    "unit_rows",
    "votes",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'bench.api' has no attribute {name!r}")
