"""Everything a plugin author imports: `tests/api.txt` has every name and signature, and no other is promised.

The names of the first block cost nothing to import: a catalogue needs no more. The others bring
torch or numpy with them, when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bench.config import NoSettings, setting
from bench.contracts.deprecation import Deprecation, tell_deprecation
from bench.contracts.recipe import ParamGroup, Recipe, Training
from bench.errors import (
    BadData,
    BadPlugin,
    BadValue,
    CellError,
    MissingData,
    UnknownName,
    Unsupported,
    UsageError,
    suggest,
)
from bench.hookspecs import Family, Offer, Run, hookimpl
from bench.keys import digest, seed_of

VERSION = (1, 0)
"""Of this api: the first number rises where a plugin may have to be changed, the second where names came."""

DEPRECATED: dict[str, Deprecation] = {}  # by the name that will be gone

if TYPE_CHECKING:
    from bench.augmentation.multi_crop import multi_crop
    from bench.augmentation.view import View
    from bench.contracts.backbone import Backbone, BackboneInfo, ForeignModel, Normalisation, Tokens
    from bench.contracts.dataset import DataLocation, Dataset, FileStream, Images, Read
    from bench.contracts.dataset_info import DatasetInfo, PublishedData
    from bench.contracts.evaluator import Evaluator, Features, Needs, Network, Scores, Task
    from bench.contracts.executor import CellRunner, Executor, QueuedJob, WorkerSpec
    from bench.contracts.feature_spec import FeatureSettings, FeatureSpec, Pool
    from bench.contracts.lazy_pixels import LazyPixels, lazy_images
    from bench.contracts.logger import Logger, list_numbers, list_scores, list_settings, name_cell
    from bench.contracts.method import Batch, Embeddings, Method, Step
    from bench.contracts.presets import NamedProtocol, NamedRecipe, NamedViews
    from bench.contracts.probes import (
        choose_on_folds,
        describe_choice,
        describe_no_choice,
        is_at_edge,
        is_near_best,
        name_folds,
        pick_best,
        refuse_not_finite,
        refuse_too_few,
        score_logits,
    )
    from bench.metrics.classification import classification_scores, require_finite
    from bench.metrics.collapse import embedding_std, rankme
    from bench.metrics.neighbours import first_largest, nearest, unit_rows, votes
    from bench.metrics.retrieval import contrastive_monitors
    from bench.metrics.spectrum import (
        LIDAR_DELTA,
        LIDAR_EPS,
        alpha_req,
        correlation,
        covariance,
        fit_range,
        lidar,
        nesum,
        spectrum,
    )
    from bench.nn.branches import switch_on_branches
    from bench.nn.clustering import spherical_kmeans
    from bench.nn.crops import each_size
    from bench.nn.heads import DINOHead, UnitLinear, projector
    from bench.nn.losses import (
        cosine_distance,
        cross_correlation,
        info_nce,
        masked_mean,
        nt_xent,
        off_diagonal_sum_of_squares,
        soft_cross_entropy,
    )
    from bench.nn.masking import block_mask, multi_block_masks, patchify, random_mask, unpatchify, visible
    from bench.nn.momentum import MomentumEncoder
    from bench.nn.negatives import synthetic_negatives
    from bench.nn.positions import sincos_positions
    from bench.nn.prototypes import Centre, Prototypes, sinkhorn
    from bench.nn.queue import FeatureQueue, MemoryBank
    from bench.nn.schedules import (
        constant_schedule,
        cosine_schedule,
        linear_schedule,
        schedule,
        warmup_schedule,
    )
    from bench.nn.shares import in_shares
    from bench.nn.stems import small_stem
    from bench.nn.transformer import TokenDecoder
    from bench.published.results import PublishedResult
    from bench.reporting.formats.base import (
        BinaryFormat,
        Caption,
        Table,
        TableCell,
        TableColumn,
        TableFormat,
        TableRow,
    )
    from bench.splits.selection import Selection, choose, chosen_classes
    from bench.splits.stratified import stratified_holdout
    from bench.storage.records import Record
    from bench.storage.submissions import Submission
    from bench.system.device import auto_precision, exact_device, move_like, to_device
    from bench.system.file_stamps import CHANGED, file_stamp, stamp_of
    from bench.system.processes import end_with_parent

_HOMES = {
    "bench.augmentation.multi_crop": ("multi_crop",),
    "bench.augmentation.view": ("View",),
    "bench.contracts.backbone": ("Backbone", "BackboneInfo", "ForeignModel", "Normalisation", "Tokens"),
    "bench.contracts.dataset": ("DataLocation", "Dataset", "FileStream", "Images", "Read"),
    "bench.contracts.dataset_info": ("DatasetInfo", "PublishedData"),
    "bench.contracts.evaluator": ("Evaluator", "Features", "Needs", "Network", "Scores", "Task"),
    "bench.contracts.executor": ("CellRunner", "Executor", "QueuedJob", "WorkerSpec"),
    "bench.contracts.feature_spec": ("FeatureSettings", "FeatureSpec", "Pool"),
    "bench.contracts.lazy_pixels": ("LazyPixels", "lazy_images"),
    "bench.contracts.logger": ("Logger", "list_numbers", "list_scores", "list_settings", "name_cell"),
    "bench.contracts.method": ("Batch", "Embeddings", "Method", "Step"),
    "bench.contracts.presets": ("NamedProtocol", "NamedRecipe", "NamedViews"),
    "bench.contracts.probes": (
        "choose_on_folds", "describe_choice", "describe_no_choice", "is_at_edge", "is_near_best",
        "name_folds", "pick_best", "refuse_not_finite", "refuse_too_few", "score_logits",
    ),
    "bench.metrics.classification": ("classification_scores", "require_finite"),
    "bench.metrics.collapse": ("embedding_std", "rankme"),
    "bench.metrics.neighbours": ("first_largest", "nearest", "unit_rows", "votes"),
    "bench.metrics.retrieval": ("contrastive_monitors",),
    "bench.metrics.spectrum": (
        "LIDAR_DELTA", "LIDAR_EPS", "alpha_req", "correlation", "covariance", "fit_range", "lidar",
        "nesum", "spectrum",
    ),
    "bench.nn.branches": ("switch_on_branches",),
    "bench.nn.clustering": ("spherical_kmeans",),
    "bench.nn.crops": ("each_size",),
    "bench.nn.heads": ("DINOHead", "UnitLinear", "projector"),
    "bench.nn.losses": (
        "cosine_distance", "cross_correlation", "info_nce", "masked_mean", "nt_xent",
        "off_diagonal_sum_of_squares", "soft_cross_entropy",
    ),
    "bench.nn.masking": (
        "block_mask", "multi_block_masks", "patchify", "random_mask", "unpatchify", "visible",
    ),
    "bench.nn.momentum": ("MomentumEncoder",),
    "bench.nn.negatives": ("synthetic_negatives",),
    "bench.nn.positions": ("sincos_positions",),
    "bench.nn.prototypes": ("Centre", "Prototypes", "sinkhorn"),
    "bench.nn.queue": ("FeatureQueue", "MemoryBank"),
    "bench.nn.schedules": (
        "constant_schedule", "cosine_schedule", "linear_schedule", "schedule", "warmup_schedule",
    ),
    "bench.nn.shares": ("in_shares",),
    "bench.nn.stems": ("small_stem",),
    "bench.nn.transformer": ("TokenDecoder",),
    "bench.published.results": ("PublishedResult",),
    "bench.reporting.formats.base": (
        "BinaryFormat", "Caption", "Table", "TableCell", "TableColumn", "TableFormat", "TableRow",
    ),
    "bench.splits.selection": ("Selection", "choose", "chosen_classes"),
    "bench.splits.stratified": ("stratified_holdout",),
    "bench.storage.records": ("Record",),
    "bench.storage.submissions": ("Submission",),
    "bench.system.device": ("auto_precision", "exact_device", "move_like", "to_device"),
    "bench.system.file_stamps": ("CHANGED", "file_stamp", "stamp_of"),
    "bench.system.processes": ("end_with_parent",),
}  # fmt: skip

__all__ = [
    "CHANGED",
    "LIDAR_DELTA",
    "LIDAR_EPS",
    "VERSION",
    "Backbone",
    "BackboneInfo",
    "BadData",
    "BadPlugin",
    "BadValue",
    "Batch",
    "BinaryFormat",
    "Caption",
    "CellError",
    "CellRunner",
    "Centre",
    "DINOHead",
    "DataLocation",
    "Dataset",
    "DatasetInfo",
    "Embeddings",
    "Evaluator",
    "Executor",
    "Family",
    "FeatureQueue",
    "FeatureSettings",
    "FeatureSpec",
    "Features",
    "FileStream",
    "ForeignModel",
    "Images",
    "LazyPixels",
    "Logger",
    "MemoryBank",
    "Method",
    "MissingData",
    "MomentumEncoder",
    "NamedProtocol",
    "NamedRecipe",
    "NamedViews",
    "Needs",
    "Network",
    "NoSettings",
    "Normalisation",
    "Offer",
    "ParamGroup",
    "Pool",
    "Prototypes",
    "PublishedData",
    "PublishedResult",
    "QueuedJob",
    "Read",
    "Recipe",
    "Record",
    "Run",
    "Scores",
    "Selection",
    "Step",
    "Submission",
    "Table",
    "TableCell",
    "TableColumn",
    "TableFormat",
    "TableRow",
    "Task",
    "TokenDecoder",
    "Tokens",
    "Training",
    "UnitLinear",
    "UnknownName",
    "Unsupported",
    "UsageError",
    "View",
    "WorkerSpec",
    "alpha_req",
    "auto_precision",
    "block_mask",
    "choose",
    "choose_on_folds",
    "chosen_classes",
    "classification_scores",
    "constant_schedule",
    "contrastive_monitors",
    "correlation",
    "cosine_distance",
    "cosine_schedule",
    "covariance",
    "cross_correlation",
    "describe_choice",
    "describe_no_choice",
    "digest",
    "each_size",
    "embedding_std",
    "end_with_parent",
    "exact_device",
    "file_stamp",
    "first_largest",
    "fit_range",
    "hookimpl",
    "in_shares",
    "info_nce",
    "is_at_edge",
    "is_near_best",
    "lazy_images",
    "lidar",
    "linear_schedule",
    "list_numbers",
    "list_scores",
    "list_settings",
    "masked_mean",
    "move_like",
    "multi_block_masks",
    "multi_crop",
    "name_cell",
    "name_folds",
    "nearest",
    "nesum",
    "nt_xent",
    "off_diagonal_sum_of_squares",
    "patchify",
    "pick_best",
    "projector",
    "random_mask",
    "rankme",
    "refuse_not_finite",
    "refuse_too_few",
    "require_finite",
    "schedule",
    "score_logits",
    "seed_of",
    "setting",
    "sincos_positions",
    "sinkhorn",
    "small_stem",
    "soft_cross_entropy",
    "spectrum",
    "spherical_kmeans",
    "stamp_of",
    "stratified_holdout",
    "suggest",
    "switch_on_branches",
    "synthetic_negatives",
    "to_device",
    "unit_rows",
    "unpatchify",
    "visible",
    "votes",
    "warmup_schedule",
]


def _find(name: str) -> Any:
    """Return what a name of the api stands for, imported when it is first asked for."""
    if name in DEPRECATED:
        tell_deprecation(name, DEPRECATED[name])
        name = DEPRECATED[name].instead
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'bench.api' has no attribute {name!r}.{suggest(name, __all__)}")


if not TYPE_CHECKING:  # a checker of types would take any name for one that is there
    __getattr__ = _find
