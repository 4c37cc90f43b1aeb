"""Weights of a timm model are loaded whole or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.config import identity
from bench.errors import BadValue
from bench.registry.registry import Registry

Timm = Registry.load().load_class("backbones", "test_resnet")


def shape(name: str, size: int = 32, channels: int = 3, **config: Any) -> Any:
    """Return the backbone without memory: enough to look at its layers."""
    with torch.device("meta"):
        return Timm(name, Timm.Config(**config), channels, size)


def made(name: str = "test_resnet", size: int = 32, channels: int = 3, **config: Any) -> Any:
    torch.manual_seed(0)
    return Timm(name, Timm.Config(**config), channels, size).eval()


def check(name: str, size: int = 32, channels: int = 3, **config: Any) -> None:
    Timm.check(name, Timm.Config(**config), channels, size)


def other_state(name: str = "test_resnet", **config: Any) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(Timm(name, Timm.Config(**config), 3, 32).net.state_dict())


def saved(path: Path, state: Mapping[str, Tensor]) -> str:
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    else:
        torch.save(dict(state), path)
    return str(path)


def assert_loaded(path: str, state: Mapping[str, Tensor]) -> None:
    check("test_resnet", weights=path)
    found = made(weights=path).net.state_dict()

    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.safetensors"])
@pytest.mark.parametrize("prefix", ["", "net.", "module."])
def test_weights_are_loaded_whatever_wrote_them(tmp_path: Path, name: str, prefix: str) -> None:
    state = other_state()
    path = saved(tmp_path / name, {prefix + key: value for key, value in state.items()})

    assert_loaded(path, state)
    assert not torch.equal(made().net.conv1[0].weight, state["conv1.0.weight"])


def test_a_backbone_that_was_saved_is_the_one_that_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(5)
    trained = Timm("test_resnet", Timm.Config(), 3, 32).eval()
    loaded, images = (
        made(weights=saved(tmp_path / "w.safetensors", trained.state_dict())),
        torch.rand(2, 3, 32, 32),
    )

    with torch.no_grad():
        assert torch.equal(loaded(images), trained(images))


def test_timms_own_file_is_loaded_without_its_classifier(tmp_path: Path) -> None:
    torch.manual_seed(2)
    whole = timm.create_model("test_resnet", num_classes=10)
    state = whole.state_dict()

    assert {"fc.weight", "fc.bias"} <= state.keys()
    assert_loaded(
        saved(tmp_path / "w.safetensors", state), {k: v for k, v in state.items() if not k.startswith("fc.")}
    )


def test_a_checkpoint_of_a_training_is_looked_into(tmp_path: Path) -> None:
    state = other_state()
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "w.pth")

    assert_loaded(str(tmp_path / "w.pth"), state)


def broken(change: str) -> dict[str, Tensor]:
    state = other_state()
    if change == "lacks layer1.0.conv1.weight":
        del state["layer1.0.conv1.weight"]
    elif change == "has in addition layer9.weight":
        state["layer9.weight"] = torch.ones(2)
    else:
        state["layer1.0.conv1.weight"] = torch.ones(2, 2)
    return state


@pytest.mark.parametrize(
    "change",
    [
        "lacks layer1.0.conv1.weight",
        "has in addition layer9.weight",
        "has in another shape layer1.0.conv1.weight",
    ],
)
@pytest.mark.parametrize("use", [check, made])
def test_a_checkpoint_that_does_not_fit_is_an_error_that_names_the_key(
    tmp_path: Path, change: str, use: Any
) -> None:
    path = saved(tmp_path / "w.pth", broken(change))

    with pytest.raises(BadValue, match=rf"^w.pth: not the weights of test_resnet on 32 px .*it {change}"):
        use("test_resnet", weights=path)


def test_a_checkpoint_of_another_model_is_refused_in_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", other_state("test_convnext"))

    with pytest.raises(
        BadValue, match=r"it lacks .* and \d+ more; it has in addition .* and \d+ more"
    ) as caught:
        check("test_resnet", weights=path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_weights_of_another_stem_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", other_state("test_vit", stem="standard"))

    with pytest.raises(
        BadValue, match=r"has in another shape patch_embed.proj.weight, pos_embed \(.*\). Set backbone.stem"
    ):
        check("test_vit", weights=path)

    check("test_vit", weights=path, stem="standard")


def test_a_file_without_the_counters_of_batch_norm_is_whole(tmp_path: Path) -> None:
    state = {k: v for k, v in other_state().items() if not k.endswith("num_batches_tracked")}
    path = saved(tmp_path / "w.pth", state)
    check("test_resnet", weights=path)

    assert torch.equal(made(weights=path).net.conv1[0].weight, state["conv1.0.weight"])


@pytest.mark.parametrize("name", ["absent.pth", "text.pth", "text.safetensors"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / f"text{Path(name).suffix}").write_text("no weights")

    with pytest.raises(BadValue, match=re.escape(name) + ": not a checkpoint that can be read"):
        check("test_resnet", weights=str(tmp_path / name))


def test_nothing_is_unpickled_that_is_not_a_tensor(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Path("anything")}, tmp_path / "w.pth")

    with pytest.raises(BadValue, match="not a checkpoint that can be read"):
        check("test_resnet", weights=str(tmp_path / "w.pth"))


def test_the_key_of_weights_is_their_content(tmp_path: Path) -> None:
    state = other_state()
    one, copy = saved(tmp_path / "a.pth", state), str(tmp_path / "b.pth")
    Path(copy).write_bytes(Path(one).read_bytes())
    other = saved(tmp_path / "c.pth", {**state, "conv1.0.weight": state["conv1.0.weight"] + 1})
    found = [identity(Timm.Config(weights=path)) for path in (one, copy, other)]

    assert found[0] == found[1] != found[2]
    assert str(tmp_path) not in str(found)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"weights": "w.pth"}, "backbone.pretrained and backbone.weights are both set. Set one."),
        ({"stem": "small"}, "timm's weights are for the standard stem. Leave backbone.stem out."),
    ],
)
def test_pretrained_weights_go_with_nothing_that_contradicts_them(config: dict[str, Any], said: str) -> None:
    with pytest.raises(BadValue, match=said):
        check("resnet18", pretrained=True, **config)


def test_pretrained_weights_that_timm_does_not_have_are_refused() -> None:
    without = next(name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name))

    with pytest.raises(
        BadValue, match=f"{without}: timm has no weights for it. Leave backbone.pretrained out."
    ):
        check(without, pretrained=True)


def test_pretrained_weights_ask_for_the_standard_stem(monkeypatch: pytest.MonkeyPatch) -> None:
    real = timm.create_model

    def without_download(name: str, *, pretrained: bool = False, **sizes: Any) -> nn.Module:
        asked.append(pretrained)
        net: nn.Module = real(name, **sizes)
        return net

    asked: list[bool] = []
    monkeypatch.setattr(timm, "create_model", without_download)
    resnet, vit = shape("resnet18", pretrained=True).net, shape("test_vit", pretrained=True).net

    assert asked.count(True) == 2
    assert resnet.conv1.stride == (2, 2)
    assert vit.patch_embed.patch_size == (16, 16)


@pytest.mark.long
def test_weights_that_cannot_be_downloaded_are_missed_before_training(tmp_path: Path) -> None:
    """Offline, with an empty cache: in a process of its own, for the library reads this when imported."""
    asked = ("--method", "random", "--backbone", "resnet18", "--set", "backbone.pretrained=true")
    rest = ("--image-size", "64", "--eval", "knn", "--results", str(tmp_path / "results"))
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", *asked, *rest],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
    )
    last = done.stderr.splitlines()[-1]

    assert done.returncode == 2
    assert last.startswith("Error: resnet18: timm's weights cannot be downloaded (")
    assert last.endswith("Connect to the internet, or set backbone.weights=FILE.")
    assert not (tmp_path / "results").exists()


# ---- what images are normalised by


def normalisation(name: str = "test_resnet", channels: int = 3, **config: Any) -> Any:
    return Timm.normalisation(name, Timm.Config(**config), channels)


def file_that_says(path: Path, stated: str) -> str:
    state = {name: value.contiguous() for name, value in other_state().items()}
    save_file(state, path, metadata={"normalisation": stated})
    return str(path)


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("vit_tiny_patch16_224", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_timms_weights_have_the_mean_and_deviation_that_they_were_trained_with(
    name: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    found, known = normalisation(name, pretrained=True), timm.get_pretrained_cfg(name)

    assert (found.mean, found.std) == (mean, std) == (tuple(known.mean), tuple(known.std))


def test_a_network_without_weights_has_no_normalisation_of_its_own(tmp_path: Path) -> None:
    silent = saved(tmp_path / "w.safetensors", other_state())

    assert normalisation("resnet18") is None
    assert normalisation(weights=silent) is None
    assert normalisation(weights=saved(tmp_path / "w.pth", other_state())) is None


def test_grey_images_have_the_mean_of_the_channels() -> None:
    found = normalisation("resnet18", channels=1, pretrained=True)

    assert found.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))
    assert found.std == pytest.approx(((0.229 + 0.224 + 0.225) / 3,))


def test_a_file_of_weights_says_its_own(tmp_path: Path) -> None:
    path = file_that_says(tmp_path / "w.safetensors", '{"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}')
    found = normalisation(weights=path)

    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_backbone_that_was_saved_before_says_it_beside_itself(tmp_path: Path) -> None:
    path = saved(tmp_path / "backbone.safetensors", other_state())
    (tmp_path / "about.json").write_text('{"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}')
    elsewhere = saved(tmp_path / "other.safetensors", other_state())

    assert normalisation(weights=path).mean == (0.1, 0.2, 0.3)
    assert normalisation(weights=elsewhere) is None


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("grey", r"^w.safetensors: the mean and std .* cannot be used"),
        ('{"mean": [0.5, 0.5, 0.5]}', r"^w.safetensors: the mean and std .* cannot be used"),
        ('{"mean": ["grey"], "std": [1]}', r"^w.safetensors: the mean and std .* cannot be used"),
        ('{"mean": 0.5, "std": 0.5}', r"^w.safetensors: the mean and std .* cannot be used"),
        ('{"mean": [0.5], "std": [0.5, 0.5]}', "there are 1 means and 2 deviations"),
        ('{"mean": [124, 116, 104], "std": [58, 57, 57]}', "Use means from 0 to 1"),
        ('{"mean": [0.5, 0.5, 0.5], "std": [0.5, 0, 0.5]}', "deviations above 0"),
        ('{"mean": [0.5, 0.5], "std": [0.5, 0.5]}', "weights are for 2 channels, the images have 3"),
    ],
)
def test_a_file_that_says_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, stated: str, message: str
) -> None:
    path = file_that_says(tmp_path / "w.safetensors", stated)

    with pytest.raises(BadValue, match=message) as caught:
        normalisation(weights=path)
    assert "\n" not in str(caught.value)
