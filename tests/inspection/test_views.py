"""`bench show views`: what is really applied, in order, and what is left out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.augmentation.view import View
from bench.cli.main import main
from bench.inspection.views import show_views as write_views
from bench.registry.registry import Registry

DOWNLOADED = ("cifar10", "cifar100", "mnist", "kmnist", "gtsrb", "stl10")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def show_views(*args: str) -> Result:
    return CliRunner().invoke(main, ["show", "views", *args])


def rows(text: str) -> dict[str, str]:
    """Return the lines by their first word."""
    return {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines() if line.strip()}


def test_photographs_are_cropped_mirrored_and_recoloured_in_that_order() -> None:
    text = show_views("simclr", "--dataset", "cifar10", "--set", "views.blur=0.5").stdout
    lines = rows(text)

    assert text.startswith("simclr on cifar10: 2 views of 32x32 pixels\n\nviews 1 and 2\n")
    assert [name for name in lines if name in ("jitter", "crop", "grey", "blur", "flip")] == [
        "crop", "flip", "jitter", "grey", "blur",
    ]  # fmt: skip
    assert lines["crop"].startswith("1 0.08 to 1 of the area, aspect ratio 0.75 to 1.33")
    assert lines["jitter"].startswith("0.8 brightness × 0.6 to 1.4, contrast × 0.6 to 1.4, saturation")
    assert lines["blur"] == "0.5 Gaussian, sigma 0.1 to 2 pixels, kernel 3x3 pixels"
    assert lines["off:"] == "affine, solarise"
    assert "mean 0.4914, 0.4822, 0.4465, std 0.247, 0.2435, 0.2616" in text
    assert "dropped" not in text


def test_of_digits_it_says_what_is_dropped_and_why() -> None:
    text = show_views("simclr").stdout

    assert text.startswith("simclr on digits: 2 views of 16x16 pixels, of images of 8x8\n")
    assert "dropped: flip 0.5 (a mirrored image may be of another class)" in text
    assert "dropped: saturation 0.4, hue 0.1, grey 0.2 (the images are grey)" in text
    assert "hue ±" not in text


def test_of_signs_colour_is_dropped_because_it_tells_classes_apart() -> None:
    text = show_views("vicreg", "--dataset", "gtsrb").stdout

    assert "saturation 0.2, hue 0.1, grey 0.2, solarise 0.1 (colour tells the classes apart)" in text


def test_what_is_off_anyway_is_not_said_to_be_dropped() -> None:
    text = show_views("simclr", "--set", "views.ops=[crop]").stdout

    assert "dropped" not in text
    assert rows(text)["off:"] == "affine, flip, jitter, grey, blur, solarise"


def test_a_view_without_operations_is_the_image() -> None:
    assert "\n  the whole image, unchanged\n" in show_views("simclr", "--set", "views.ops=[]").stdout


def test_settings_of_the_method_the_data_and_the_size_count() -> None:
    text = show_views("simclr", "--dataset", "gtsrb", "--set", "dataset.size=48", "--image-size", "96").stdout

    assert text.startswith("simclr on gtsrb: 2 views of 96x96 pixels, of images of 48x48\n")
    assert rows(text)["blur"].startswith("0.5 Gaussian")
    assert "kernel 9x9" in text


@pytest.mark.parametrize("name", DOWNLOADED)
def test_data_that_has_to_be_downloaded_need_not_be_there(name: str, registry: Registry) -> None:
    result = show_views("supervised", "--dataset", name)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"supervised on {name}: 1 view of ")
    assert not registry.load_class("datasets", name).about(_config(registry, name)).classes


def _config(registry: Registry, name: str) -> object:
    return registry.load_class("datasets", name).Config()


def test_a_size_of_all_views_is_that_of_their_crops_and_kernels() -> None:
    text = show_views("simclr", "--set", "views.size=64", "--set", "views.blur=0.5").stdout

    assert text.startswith("simclr on digits: 2 views of 64x64 pixels, of images of 8x8\n")
    assert "\nviews 1 and 2, 64x64 pixels\n" in text
    assert "resized to 64x64" in text
    assert "kernel 7x7" in text


def test_views_of_several_sizes_are_each_shown_at_their_own(probes: Any) -> None:
    text = write_views(Registry.load(), "crops", {"dataset": ("cifar10",)})
    large, small = text.split("\n\n")[1:3]

    assert text.startswith(
        "crops on cifar10: 2 views of 32x32 and 3 views of 16x16 pixels, of images of 32x32\n"
    )
    assert large.startswith("views 1 and 2\n")
    assert "resized to 32x32" in large
    assert small.startswith("views 3, 4 and 5, 16x16 pixels\n")
    assert "0.05 to 0.3 of the area, aspect ratio 0.75 to 1.33, resized to 16x16" in small


def test_the_runs_own_size_is_not_said_again() -> None:
    assert show_views("simclr", "--set", "views.size=16").stdout == show_views("simclr").stdout


def test_a_folder_has_to_be_there() -> None:
    result = show_views("simclr", "--dataset", "image_folder")

    assert result.exit_code == 2
    assert result.stderr == "Error: image_folder: no folder was given. Set dataset.root=FOLDER.\n"


def test_what_trains_nothing_has_no_views() -> None:
    assert show_views("random").stdout == "random trains nothing, so there are no views.\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["simclrr"], "no method is named 'simclrr'. Did you mean 'simclr'?"),
        (["simclr,vicreg"], "--method: 2 values are given, simclr, vicreg. Name one."),
        (["simclr", "--set", "views.blur=0,0.5"], "--set views.blur: 2 values are given, 0, 0.5. Name one."),
        (["simclr", "--set", "views.blurr=1"], "--set views.blurr: views has no setting named 'blurr'."),
        (["simclr", "--set", "views.blur=2"], "views.blur: 2 is out of range."),
        (["simclr", "--set", "views.ops=[blur]"], "views.ops: blur is named, but it is off in the views"),
        (["simclr", "--dataset", "cifar"], "no dataset is named 'cifar'."),
    ],
)
def test_what_cannot_be_shown_is_one_line(args: list[str], message: str) -> None:
    result = show_views(*args)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


def test_options_of_views_are_refused_for_a_plugin() -> None:
    result = CliRunner().invoke(main, ["show", "method", "simclr", "--dataset", "cifar10"])

    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --dataset: it is for `bench show views METHOD`.")


def test_the_page_on_views_names_every_field_and_has_what_is_printed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "views.md").read_text(encoding="utf-8")
    missing = [f.name for f in fields(View) if f"`{f.name}`" not in page]
    printed = show_views("simclr").stdout.rstrip()

    assert not missing
    assert printed in page
