"""A trained backbone comes out of a results folder, and other code loads it and gets the same features."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from click.testing import CliRunner
from conftest import Lab
from environment import environment
from safetensors.torch import load_file, save
from torch import Tensor

import bench
from bench.cli.main import main
from bench.errors import BadData, BadValue, UnknownName, Unsupported, UsageError
from bench.execution.backbone_export import EXPORTS, export_backbone
from bench.execution.stored_backbone import StoredBackbone, find_made

FORMATS = ("timm", "torchvision", "safetensors", "torchscript", "onnx")


def stored(lab: Lab, **axes: Any) -> StoredBackbone:
    lab.run(lab.plan(**axes))
    return bench.load_backbone(str(axes.get("method", "random")), lab.folder, lab.registry)


def noise(backbone: StoredBackbone, count: int = 3) -> Tensor:
    torch.manual_seed(7)
    return torch.randn(count, backbone.channels, backbone.image_size, backbone.image_size)


def load_script(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("load", folder / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load()


def features(network: Any, images: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(images)
    return found


@pytest.mark.parametrize(
    ("name", "library"),
    [("resnet18", "timm"), ("resnet18", "torchvision"), ("test_resnet", "timm"), ("test_vit", "timm"),
     ("test_efficientnet", "timm"), ("test_convnext", "timm")],
)  # fmt: skip
def test_a_library_builds_the_network_with_the_runs_stem(
    lab: Lab, tmp_path: Path, name: str, library: str
) -> None:
    backbone = stored(lab, backbone=name, settings={"train.image_size": 32})
    export_backbone(backbone, library, tmp_path / "out")
    images = noise(backbone)
    loaded = load_script(tmp_path / "out")

    assert not loaded.training
    assert torch.allclose(features(loaded, images), features(backbone.backbone, images), atol=1e-4)
    assert load_file(tmp_path / "out" / "model.safetensors").keys() == loaded.state_dict().keys()


def test_timm_finds_all_of_a_network_that_it_builds_itself(lab: Lab, tmp_path: Path) -> None:
    backbone = stored(lab, backbone="test_vit")
    export_backbone(backbone, "timm", tmp_path / "out")
    loaded = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    images = noise(backbone)

    assert torch.allclose(features(loaded, images), features(backbone.backbone, images), atol=1e-4)
    assert loaded.pretrained_cfg["mean"] == backbone.made.about["mean"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_and_onnx_run_batches_of_any_size(lab: Lab, tmp_path: Path) -> None:
    import onnxruntime

    backbone = stored(lab, backbone="test_resnet")
    images = noise(backbone, 5)
    for library in ("torchscript", "onnx"):
        export_backbone(backbone, library, tmp_path / library)
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    by_onnx = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    by_script = features(torch.jit.load(tmp_path / "torchscript" / "model.torchscript.pt"), images)

    assert torch.allclose(by_onnx, features(backbone.backbone, images), atol=1e-4)
    assert torch.allclose(by_script, features(backbone.backbone, images), atol=1e-4)


def test_safetensors_are_what_another_run_starts_from(lab: Lab, tmp_path: Path) -> None:
    backbone = stored(lab)
    export_backbone(backbone, "safetensors", tmp_path / "out")
    weights = str(tmp_path / "out" / "model.safetensors")
    again = stored(lab.beside("again"), settings={"backbone.weights": weights, "dataset.max_train": 48})
    images = noise(backbone)

    assert torch.equal(features(again.backbone, images), features(backbone.backbone, images))
    assert again.made.about["mean"] == pytest.approx(backbone.made.about["mean"])
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o644}


def test_what_is_written_says_what_it_is(lab: Lab, tmp_path: Path) -> None:
    lab.run(lab.plan(method="simclr", evaluator=("knn", "linear")))
    lab.run(lab.plan({"knn.k": 3}, method="simclr", shots=2, label_frac=()))
    backbone = bench.load_backbone("simclr", lab.folder, lab.registry)
    export_backbone(backbone, "timm", tmp_path / "out")
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    card = (tmp_path / "out" / "README.md").read_text()
    records = list(lab.store.records())

    assert (about["method"], about["backbone"], about["dataset"]) == ("simclr", "test_resnet", "digits")
    assert about["architecture"]["changes"] == [
        "model.maxpool = torch.nn.Identity()", "model.conv1[0].stride = (1, 1)",
    ]  # fmt: skip
    assert about["input"]["mean"] == backbone.made.about["mean"]
    assert about["config"]["training"] == records[0]["config"]["training"]
    found, kept = (
        {(one["evaluator"], one["label_frac"], one.get("shots")): top1 for one, top1 in pairs}
        for pairs in (
            [(score, score["metrics"]["top1"]) for score in about["scores"]],
            [(record["cell"], record["metrics"]["top1"]["value"]) for record in records],
        )
    )
    assert found == kept
    assert ("knn", None, 2) in found
    assert "2 a class" in card
    assert "# simclr test_resnet on digits" in card
    assert all(f"{score['metrics']['top1']:.4g}" in card for score in about["scores"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "about.json", "load.py", "model.safetensors",
    ]  # fmt: skip


def test_a_stored_backbone_takes_images_as_they_are(lab: Lab) -> None:
    backbone = stored(lab)
    pixels = torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8)
    mean, std = backbone.made.about["mean"][0], backbone.made.about["std"][0]
    wanted = features(backbone.backbone, (pixels.float() / 255 - mean) / std)

    assert torch.allclose(features(backbone, pixels), wanted)
    assert torch.allclose(features(backbone, pixels.float() / 255), wanted)
    assert wanted.shape == (4, backbone.dim)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_a_backbone_is_named_by_a_key_or_by_a_row(lab: Lab) -> None:
    lab.run(lab.plan(method=("random", "simclr"), seed=(0, 1)))
    keys = {(r["cell"]["method"], r["cell"]["seed"]): r["keys"] for r in lab.store.records()}
    first = keys["simclr", 1]

    by_key = (first["backbone"], first["score"], first["backbone"][:6])
    by_row = ("simclr,seed=1", "method=simclr,seed=1", "simclr/test_resnet,seed=1", "seed=1,method=simclr")

    for what in (*by_key, *by_row):
        assert find_made(what, lab.folder).key == first["backbone"]


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("simclrr", UnknownName, "no row of 'simclrr'. Did you mean 'simclr'?"),
        ("simclr,sed=1", UnknownName, "'simclr,sed=1': no axis is named 'sed'. Did you mean 'seed'"),
        ("simclr,seed=7", UnknownName, "'simclr,seed=7': no record has seed '7'."),
        ("simclr", BadValue, "'simclr' is 2 backbones: simclr test_resnet digits seed 0 ("),
    ],
)
def test_what_does_not_mean_one_backbone_is_one_line(
    lab: Lab, what: str, error: type[Exception], said: str
) -> None:
    lab.run(lab.plan(method="simclr", seed=(0, 1)))

    with pytest.raises(error) as caught:
        find_made(what, lab.folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_backbone_that_is_not_kept_is_one_line(lab: Lab) -> None:
    lab.run(lab.plan())
    key = next(iter(lab.store.records()))["keys"]["backbone"]
    for path in lab.artifact(key).iterdir():
        path.unlink()
    lab.artifact(key).rmdir()

    with pytest.raises(BadData, match=r"is not kept there, or is damaged\. Run the same `bench run` again"):
        find_made("random", lab.folder)


def edit(lab: Lab, change: Callable[[dict[str, Any]], object]) -> None:
    for record in list(lab.store.records()):
        lab.store.remove(record["cell"], record["keys"]["score"])
        own = copy.deepcopy(record)  # records share what they have alike
        change(own)
        lab.store.write(own)


def rewrite(lab: Lab, **files: bytes | None) -> None:
    """Write the artifact of the backbone anew, with other files."""
    (key,) = {record["keys"]["backbone"] for record in lab.store.records()}
    there = {path.name: path.read_bytes() for path in lab.artifacts.list_files(key)}
    names = {"about": "about.json", "weights": "backbone.safetensors"}
    there |= {names[name]: content for name, content in files.items()}  # type: ignore[misc]
    with lab.artifacts.locked(key), lab.artifacts.write(key) as work:
        for path in work.iterdir():
            path.unlink()
        for name, content in there.items():
            if content is not None:
                (work / name).write_bytes(content)


def say(**about: Any) -> bytes:
    usual = {"mean": [0.5], "std": [0.5], "channels": 1, "image_size": 16, "params": 1}
    return json.dumps({**usual, **about}).encode()


ODD: dict[str, tuple[Callable[[Lab], object], str]] = {
    "no key": (lambda lab: edit(lab, lambda record: record["keys"].pop("backbone")), "no records in"),
    "no config": (
        lambda lab: edit(lab, lambda record: record["config"].pop("backbone")),
        "its record does not say how test_resnet is built",
    ),
    "no about": (lambda lab: rewrite(lab, about=None), "is not kept there, or is damaged"),
    "no weights": (lambda lab: rewrite(lab, weights=None), "is not kept there, or is damaged"),
    "a list": (lambda lab: rewrite(lab, about=b"[]"), "it does not say how the network is used"),
    "no json": (lambda lab: rewrite(lab, about=b"\xff"), "it does not say how the network is used"),
    "deep": (lambda lab: rewrite(lab, about=b"[" * 10**5), "it does not say how the network is used"),
    "an odd mean": (lambda lab: rewrite(lab, about=say(mean=["x"])), "it does not say how the network is"),
    "a mean too many": (lambda lab: rewrite(lab, about=say(mean=[0, 0])), "it does not say how the network"),
    "an odd size": (lambda lab: rewrite(lab, about=say(image_size="x")), "it does not say how the network"),
    "an odd channel": (lambda lab: rewrite(lab, about=say(channels=[])), "it does not say how the network"),
    "other weights": (
        lambda lab: rewrite(lab, weights=save({"x": torch.zeros(2)})), "it does not fit test_resnet (",
    ),
    "no weights at all": (lambda lab: rewrite(lab, weights=b"x"), "it does not fit test_resnet ("),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_odd_folder_is_one_line_and_nothing_in_it_is_renamed(lab: Lab, tmp_path: Path, name: str) -> None:
    lab.run(lab.plan())
    change, said = ODD[name]
    change(lab)
    before = sorted(lab.folder.rglob("*"))

    with pytest.raises(UsageError) as caught:
        bench.load_backbone("random", lab.folder, lab.registry)
    assert said in str(caught.value)
    done = CliRunner().invoke(main, ["export", "random", str(tmp_path / "out"), "--results", str(lab.folder)])
    assert done.exit_code == 2, done.exc_info
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 1000
    assert sorted(lab.folder.rglob("*")) == before


def test_a_backbone_with_a_flipped_bit_is_one_line_and_stays(lab: Lab) -> None:
    lab.run(lab.plan())
    (path,) = lab.folder.glob("artifacts/*/backbone.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(BadData, match=r"is not kept there, or is damaged\. Run the same `bench run` again"):
        bench.load_backbone("random", lab.folder, lab.registry)
    assert path.read_bytes() == content


def test_what_an_artifact_does_not_say_is_found_out_or_left_empty(lab: Lab, tmp_path: Path) -> None:
    lab.run(lab.plan())
    made = find_made("random", lab.folder)
    rewrite(lab, about=json.dumps({**made.about, "params": None}).encode())
    edit(lab, lambda record: record["config"].pop("views", None))
    backbone = bench.load_backbone("random", lab.folder, lab.registry)
    export_backbone(backbone, "safetensors", tmp_path / "out")
    about = json.loads((tmp_path / "out" / "about.json").read_text())

    assert about["params"] == sum(one.numel() for one in backbone.backbone.parameters())
    assert about["config"]["views"] == {}


def test_a_network_that_a_library_does_not_have_is_refused_and_nothing_is_left(
    lab: Lab, tmp_path: Path
) -> None:
    backbone = stored(lab)

    with pytest.raises(Unsupported, match="torchvision has no network of this name"):
        export_backbone(backbone, "torchvision", tmp_path / "out" / "here")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_there_is_not_written_over(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(BadValue, match=r"it is there already, and not empty\."):
        export_backbone(stored(lab), "safetensors", tmp_path)


def test_a_missing_package_is_one_line(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = stored(lab)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(UsageError, match=r"onnx is not installed. Run: pip install 'ssl-bench\[onnx\]'"):
        export_backbone(backbone, "onnx", tmp_path / "out")


def test_the_command_exports_and_prints_where(lab: Lab, tmp_path: Path) -> None:
    lab.run(lab.plan())
    args = ["export", "random", str(tmp_path / "out"), "--to", "timm", "--results", str(lab.folder)]
    result = CliRunner().invoke(main, args)

    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'out'}\n")
    option = next(p for p in main.commands["export"].params if p.name == "library")
    assert tuple(option.type.choices) == FORMATS == tuple(EXPORTS)  # type: ignore[attr-defined]


def test_importing_bench_brings_no_torch() -> None:
    code = "import sys, bench; assert 'load_backbone' in bench.__all__; assert 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True, env=environment())
