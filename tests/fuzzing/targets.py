"""What is given any bytes by the tests and by `make fuzz`: a reader of what may be a stranger's.

Each target returns, or raises one of bench's own errors, whose message is one line. Anything else is a fault.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from bench_plugins.datasets.image_files import class_list, decoding, groups, lists
from made_records import full_record
from PIL import Image
from torch import nn

from bench.config import build
from bench.contracts.recipe import TrainConfig, Training
from bench.errors import BenchError
from bench.planning.options import merge_options
from bench.pretraining.checkpoint import FILE, Checkpoint, TrainingProgress
from bench.pretraining.optimizers import build_optimizer
from bench.reporting.table import table
from bench.storage.artifact_files import METRICS
from bench.storage.artifacts import MANIFEST, ArtifactStore
from bench.storage.epochs import read_epochs
from bench.storage.record_json import digest_of, encode
from bench.storage.records import RecordStore

Target = Callable[[bytes], None]
KEY = "0123456789abcdef0123"
KINDS = {"train": "train", "val": "val", "test": "test"}
TRAINING = Training(
    epochs=2, batch_size=2, image_size=8, precision="float32", optimizer="sgd", lr=1e-3, weight_decay=0.0,
    momentum=0.9, warmup_epochs=0,
)  # fmt: skip


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    log = logging.getLogger("bench")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Let bench's own errors pass, if they are one line."""
    try:
        yield
    except BenchError as error:
        if "\n" in str(error):
            raise AssertionError(str(error)) from error


def read_grid_file(data: bytes) -> None:
    """Read a grid file and its options."""
    with _folder() as folder, one_line():
        (folder / "grid.yaml").write_bytes(data)
        merge_options(folder / "grid.yaml", {})


def read_setting(data: bytes) -> None:
    """Read what stands after `--set`, and build the settings of a training of it."""
    with one_line():
        options = merge_options(None, {"set": (data.decode("utf-8", "surrogateescape"),)})
        for name, values in options.settings.items():
            build(TrainConfig, {name.partition(".")[2]: values[0]}, "train")


def read_record(data: bytes) -> None:
    """Read a record as it is and, where it is JSON, as one whose digest and place are right; tabulate it."""
    with _folder() as folder, one_line():
        store = RecordStore(folder)
        path = store.write(full_record())
        path.write_bytes(data)
        list(store.records())
        path.unlink()
        with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError, OSError, AttributeError):
            record = json.loads(data)
            record["digest"] = digest_of(record)
            path = store.path(record["cell"], record["keys"]["score"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(record))
        records = list(store.records())
        if records:
            table(records)


def read_manifest(data: bytes) -> None:
    """Read an artifact's manifest, and what a training logged of its epochs."""
    with _folder() as folder:
        artifacts = ArtifactStore(folder)
        own = artifacts.folder / KEY
        own.mkdir(parents=True)
        (own / MANIFEST).write_bytes(data)
        artifacts.has(KEY)
        artifacts.find_damage(KEY)
        assert all(path.parent == own for path in artifacts.list_files(KEY))
        with artifacts.write("epochs") as work:
            (work / METRICS).write_bytes(data)
        read_epochs(artifacts, "epochs")


def read_checkpoint(data: bytes) -> None:
    """Resume a training from a checkpoint."""
    with _folder() as folder:
        (folder / FILE).write_bytes(data)
        method = nn.Linear(2, 2)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        Checkpoint(folder, KEY).resume(method, build_optimizer(method, TRAINING), scaler)


def read_image(data: bytes) -> None:
    """Decode an image file in every way."""
    with _folder() as folder:
        path = folder / "image.png"
        path.write_bytes(data)
        list(decoding.decode_each([path], 3, 8, most=100_000))
        decoding.read(path, lambda *_: 1.0, channels=1, most=100_000)
        decoding.measure([path], 100_000)


def read_classes(data: bytes) -> None:
    """Read a class list, groups and lists of images."""
    with _folder() as folder:
        for name in ("class.txt", "groups.csv", "list.csv", "list.jsonl", "list.tsv", "list.parquet"):
            (folder / name).write_bytes(data)
        (folder / "a.png").write_bytes(b"")
        with one_line():
            class_list.read_class_list(folder, "train", ["a", "b"])
        with one_line():
            groups.read_groups(folder)
        for path in lists.find_lists(folder):
            with one_line():
                lists.read_list(path, folder, (), KINDS)


TARGETS: Mapping[str, Target] = {
    "grid": read_grid_file, "set": read_setting, "record": read_record, "manifest": read_manifest,
    "checkpoint": read_checkpoint, "image": read_image, "classes": read_classes,
}  # fmt: skip


def list_seeds(name: str) -> list[bytes]:
    """Return contents that a target takes, from which others are made."""
    return {
        "grid": [
            b"method: [simclr, vicreg]\nlabel-frac: [0.01, 1]\nseed: [0, 1]\nset: {train.lr: [1e-3, .inf]}\n",
            b"method: &a [simclr]\nset: {knn.k: [5, 20], views.ops: [[crop, flip]]}\n<<: {jobs: 2}\n",
        ],
        "set": [b"train.lr=0.1,1e-3", b"train.betas=[0.9,0.95]", b"train.precision='auto'"],
        "record": [encode(full_record()), encode(full_record(status="failed", metrics={}, reason="why"))],
        "manifest": [
            json.dumps({"key": KEY, "files": {"a": {"bytes": 1, "sha256": "0"}}}).encode(),
            b'{"epoch": 1, "loss": 0.5, "seconds": 1.0}\n{"epoch": 2, "loss": 0.4}\n',
        ],
        "checkpoint": [_make_checkpoint()],
        "image": [_make_image(form) for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")],
        "classes": [b"a\nb\n", b"a: one\nb: two\n", b"0 a\n1 b\n", b"file,label\na.png,cat\n",
                    b'{"file": "a.png", "label": "cat", "split": "train"}\n'],
    }[name]  # fmt: skip


def _make_checkpoint() -> bytes:
    with _folder() as folder:
        method = nn.Linear(2, 2)
        method(torch.ones(1, 2)).sum().backward()
        optimizer = build_optimizer(method, TRAINING)
        optimizer.step()
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        Checkpoint(folder, KEY).save(method, optimizer, scaler, TrainingProgress([{"epoch": 1}], (1,), (1,)))
        return (folder / FILE).read_bytes()


def _make_image(form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, form)
    return file.getvalue()
