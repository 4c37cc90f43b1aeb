"""Write a trained backbone for other code: its weights, how they are loaded, what it is and what it scored.

Each export is loaded again before it counts, strictly, and has to give the same features.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.contracts.backbone import ForeignModel
from bench.errors import BadValue, CellError, Unsupported, UsageError, one_line
from bench.execution.model_card import write_card
from bench.execution.stored_backbone import StoredBackbone
from bench.storage.artifact_files import ABOUT, write_json
from bench.storage.data_names import titles_of
from bench.storage.durable import share, sync
from bench.storage.tensors import cpu_copies

WEIGHTS, LOADER = "model.safetensors", "load.py"
CLOSE = 1e-3  # of the largest feature: other kernels round otherwise
CREATE = {"timm": "timm.create_model", "torchvision": "torchvision.models.get_model"}

Network = Callable[[Tensor], Tensor]


def export_backbone(stored: StoredBackbone, library: str, folder: Path) -> None:
    """Write a backbone into a folder that is not there yet, or empty.

    Args:
        stored: the backbone.
        library: of `EXPORTS`.
        folder: with the weights, `about.json`, and a model card, `README.md`.

    Raises:
        BadValue: the folder has files.
        UsageError: a package is missing.
        Unsupported: the library does not have this network.
        CellError: what was written does not give the same features.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadValue(f"{folder}: it is there already, and not empty. Name another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        work.chmod(0o755)
        load = EXPORTS[library](stored, work)
        _refuse_difference(stored, load(), library)
        shutil.rmtree(work / "__pycache__", ignore_errors=True)
        about = describe(stored, library)
        write_json(work / ABOUT, about)
        (work / "README.md").write_text(
            write_card(about, sorted(path.name for path in work.iterdir())), "utf-8"
        )
        for path in work.rglob("*"):
            if path.is_file():
                share(path)
            sync(path)
        if folder.exists():
            folder.rmdir()
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def describe(stored: StoredBackbone, library: str) -> dict[str, Any]:
    """Return what `about.json` says of an exported backbone."""
    made, first = stored.made, stored.made.records[0]
    own = {name: first["cell"].get(name) for name in ("method", "backbone", "seed")}
    params, said = sum(one.numel() for one in stored.backbone.parameters()), made.about.get("params")
    return {
        "format": library,
        "key": made.key,
        **own,
        "dataset": titles_of(first)[0],
        "architecture": _describe_architecture(stored, library),
        "input": {
            "channels": stored.channels,
            "image_size": stored.image_size,
            "mean": made.about["mean"],
            "std": made.about["std"],
        },
        "dim": stored.dim,
        "params": said if type(said) is int else params,
        "config": {
            name: first["config"].get(name, {})
            for name in ("method", "backbone", "dataset", "training", "views")
        },
        "settings": first.get("settings", {}),
        "labels_seen": (first.get("protocol") or {}).get("training_labels"),
        "scores": [_describe_score(record) for record in made.records],
        "made_by": {"bench": version("ssl-bench"), "torch": torch.__version__.partition("+")[0]},
    }


def _describe_architecture(stored: StoredBackbone, library: str) -> dict[str, Any]:
    """Return how the library that was exported to builds the network; else what timm would do, if it can."""
    try:
        model = stored.backbone.in_library(library if library in CREATE else "timm")
    except Unsupported:
        return {"name": stored.made.records[0]["cell"]["backbone"]}
    return {"name": model.name, "arguments": dict(model.arguments), "changes": list(model.changes)}


def _describe_score(record: Mapping[str, Any]) -> dict[str, Any]:
    cell = record["cell"]
    metrics = {name: metric["value"] for name, metric in record["metrics"].items()}
    where = {name: cell.get(name) for name in ("evaluator", "label_frac")}
    where |= {name: cell[name] for name in ("shots", "keep_one") if name in cell}
    return {**where, "dataset": titles_of(record)[1], "metrics": metrics}


# ---- formats: each writes its files and returns what loads them again


def _write_safetensors(stored: StoredBackbone, folder: Path) -> Callable[[], Network]:
    """Write the tensors under the backbone's own names: what `backbone.weights` and `bench` read."""
    save_file(cpu_copies(stored.backbone.state_dict()), folder / WEIGHTS, metadata=_state_statistics(stored))

    def load() -> Network:
        from safetensors.torch import load_file

        from bench.execution.stored_backbone import build_stored
        from bench.registry.registry import Registry

        again = build_stored(stored.made, Registry.load()).backbone
        again.load_state_dict(load_file(folder / WEIGHTS))
        return again

    return load


def _write_library(library: str) -> Callable[[StoredBackbone, Path], Callable[[], Network]]:
    """Return what writes weights and a script for a library's own network."""

    def write(stored: StoredBackbone, folder: Path) -> Callable[[], Network]:
        model = stored.backbone.in_library(library)
        state = {
            name.removeprefix(model.prefix): value
            for name, value in cpu_copies(stored.backbone.state_dict()).items()
        }
        save_file(state, folder / WEIGHTS, metadata=_state_statistics(stored))
        (folder / LOADER).write_text(_write_loader(library, model), "utf-8")
        if library == "timm" and not model.changes:
            write_json(folder / "config.json", _describe_for_timm(stored, model))
        return lambda: _run_loader(folder / LOADER)

    return write


def _state_statistics(stored: StoredBackbone) -> dict[str, str]:
    return {"normalisation": json.dumps({name: list(stored.made.about[name]) for name in ("mean", "std")})}


def _write_loader(library: str, model: ForeignModel) -> str:
    """Return a script that builds a library's network and loads the weights beside it, strictly."""
    arguments = "".join(f", {name}={value!r}" for name, value in model.arguments.items())
    changes = "".join(f"    {line}\n" for line in model.changes)
    return f'''"""Load this backbone with {library}. It takes images normalised as about.json says."""

from pathlib import Path

import {library}
import torch
from safetensors.torch import load_file


def load() -> torch.nn.Module:
    model = {CREATE[library]}({model.name!r}{arguments})
{changes}    model.load_state_dict(load_file(Path(__file__).with_name("{WEIGHTS}")), strict=True)
    return model.eval()
'''


def _run_loader(path: Path) -> Network:
    """Return the network that a script loads."""
    spec = importlib.util.spec_from_file_location("exported_backbone", path)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: nn.Module = module.load()
    return network


def _describe_for_timm(stored: StoredBackbone, model: ForeignModel) -> dict[str, Any]:
    """Return timm's own description of a folder, with which `timm.create_model("local-dir:…")` finds all."""
    about, size = stored.made.about, [stored.channels, stored.image_size, stored.image_size]
    inputs = {"input_size": size, "mean": about["mean"], "std": about["std"], "num_classes": 0}
    return {
        "architecture": model.name,
        "num_classes": 0,
        "num_features": stored.dim,
        "model_args": dict(model.arguments),
        "pretrained_cfg": {**inputs, "crop_pct": 1.0, "interpolation": "bicubic"},
    }


def _write_torchscript(stored: StoredBackbone, folder: Path) -> Callable[[], Network]:
    """Write a trace, which `torch.jit.load` runs without bench."""
    path = folder / "model.torchscript.pt"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer, about shapes: the trace is compared below
        torch.jit.save(torch.jit.trace(stored.backbone, _draw_images(stored, 2), check_trace=False), path)

    def load() -> Network:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded: Network = torch.jit.load(path)
        return loaded

    return load


def _write_onnx(stored: StoredBackbone, folder: Path) -> Callable[[], Network]:
    """Write a graph of one file whose batch may be of any size: `images` to `features`."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"--to onnx: {package} is not installed. Run: pip install 'ssl-bench[onnx]'")
    path = folder / "model.onnx"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            stored.backbone,
            (_draw_images(stored, 2),),
            path,
            input_names=["images"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )

    def load() -> Network:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return load


def _draw_images(stored: StoredBackbone, count: int) -> Tensor:
    """Return normalised images (count, channels, side, side) of noise, always the same."""
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, stored.channels, stored.image_size, stored.image_size, generator=generator)


def _refuse_difference(stored: StoredBackbone, network: Network, library: str) -> None:
    """Refuse an export that does not give the features of the backbone, for batches of several sizes.

    Raises:
        CellError: it does not.
    """
    for count in (1, 3):
        images = _draw_images(stored, count)
        with torch.no_grad():
            wanted = stored.backbone(images)
            try:
                found = network(images)
            except Exception as error:
                raise CellError(
                    f"--to {library}: what was written does not run ({one_line(error)})."
                ) from error
        most = float((wanted - found).abs().max()) if found.shape == wanted.shape else float("inf")
        if not most <= CLOSE * float(wanted.abs().max().clamp_min(1e-6)):
            raise CellError(f"--to {library}: what was written gives other features, by up to {most:.3g}.")


EXPORTS: Mapping[str, Callable[[StoredBackbone, Path], Callable[[], Network]]] = {
    "timm": _write_library("timm"),
    "torchvision": _write_library("torchvision"),
    "safetensors": _write_safetensors,
    "torchscript": _write_torchscript,
    "onnx": _write_onnx,
}
