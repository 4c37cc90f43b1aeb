"""Everything a plugin author imports.

The names of the first block cost nothing to import: a catalogue needs no more. The others bring
torch or numpy with them, when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bench.config import NoSettings, setting
from bench.contracts.recipe import Recipe
from bench.errors import BadData, BadPlugin, BadValue, Unsupported, UsageError, suggest
from bench.hookspecs import Family, Offer, hookimpl
from bench.keys import digest, seed_of

if TYPE_CHECKING:
    from bench.augmentation.view import View
    from bench.contracts.backbone import Backbone, BackboneInfo, Tokens
    from bench.contracts.dataset import DataLocation, Dataset, DatasetInfo, FileStream, Images
    from bench.contracts.evaluator import Evaluator, Features, Network, Scores, Task
    from bench.contracts.executor import CellRunner, Executor, WorkerSpec
    from bench.contracts.method import Batch, Embeddings, Method, Step
    from bench.metrics.classification import classification_scores, require_finite
    from bench.metrics.collapse import embedding_std, rankme
    from bench.metrics.neighbours import first_largest, nearest, unit_rows, votes
    from bench.metrics.retrieval import contrastive_monitors
    from bench.splits.selection import Selection, choose, chosen_classes
    from bench.splits.stratified import stratified_holdout
    from bench.system.device import auto_precision
    from bench.system.processes import end_with_parent

_HOMES = {
    "bench.augmentation.view": ("View",),
    "bench.contracts.backbone": ("Backbone", "BackboneInfo", "Tokens"),
    "bench.contracts.dataset": ("Dataset", "DatasetInfo", "Images", "DataLocation", "FileStream"),
    "bench.contracts.evaluator": ("Evaluator", "Features", "Network", "Scores", "Task"),
    "bench.contracts.executor": ("CellRunner", "Executor", "WorkerSpec"),
    "bench.contracts.method": ("Batch", "Embeddings", "Method", "Step"),
    "bench.metrics.classification": ("classification_scores", "require_finite"),
    "bench.metrics.collapse": ("embedding_std", "rankme"),
    "bench.metrics.neighbours": ("first_largest", "nearest", "unit_rows", "votes"),
    "bench.metrics.retrieval": ("contrastive_monitors",),
    "bench.splits.selection": ("Selection", "choose", "chosen_classes"),
    "bench.splits.stratified": ("stratified_holdout",),
    "bench.system.device": ("auto_precision",),
    "bench.system.processes": ("end_with_parent",),
}  # fmt: skip

__all__ = [
    "Backbone",
    "BackboneInfo",
    "BadData",
    "BadPlugin",
    "BadValue",
    "Batch",
    "CellRunner",
    "DataLocation",
    "Dataset",
    "DatasetInfo",
    "Embeddings",
    "Evaluator",
    "Executor",
    "Family",
    "Features",
    "FileStream",
    "Images",
    "Method",
    "Network",
    "NoSettings",
    "Offer",
    "Recipe",
    "Scores",
    "Selection",
    "Step",
    "Task",
    "Tokens",
    "Unsupported",
    "UsageError",
    "View",
    "WorkerSpec",
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
