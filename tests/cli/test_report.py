"""The command that writes a report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from report_pages import parse, trained, write_results
from small_runs import bench, line_of, run

pytestmark = pytest.mark.usefixtures("folder")


def test_a_run_becomes_a_page_with_its_table_and_its_curve() -> None:
    assert run("--method", "simclr,random", "--set", "dataset.max_train=64").exit_code == 0
    result = bench("report")
    page = parse(Path("report.html").read_text())

    assert result.exit_code == 0
    assert result.stdout.startswith("report.html: ")
    assert "2 cells: 2 ok." in page.text
    assert page.one("figure", id="figure-curve-loss").one("tbody").text.startswith("simclr")
    assert "bench run --method random,simclr --backbone test_resnet" in page.one("pre").text


def test_what_a_run_predicted_and_saw_is_drawn_and_written_as_files() -> None:
    assert run("--method", "simclr,random", "--set", "dataset.max_train=64").exit_code == 0
    result = bench("report", "--maps", "40", "--figures", "paper")
    page = parse(Path("report.html").read_text())
    drawn = {str(figure.attributes["id"]).removeprefix("figure-") for figure in page.all("figure")}
    written = {path.stem for path in Path("paper").glob("*.svg")}

    assert result.exit_code == 0, result.output
    assert {"confusion", "recall", "tsne", "neighbours", "views"} <= {name.split("-")[0] for name in drawn}
    assert drawn <= written
    assert {path.stem for path in Path("paper").glob("*.png")} == written
    assert len(list(page.all("script"))) == 2


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ("--root", "photos"),
            "Error: --root: 'photos' is not DATASET=DIR. Write it like image_folder=photos.",
        ),
        (("--maps", "40", "--map", "som"), "Error: --map: "),
        (("--maps", "7"), "Error: --maps: "),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line(folder: Path, options: tuple[str, ...], line: str) -> None:
    write_results(folder / "results", [trained()])

    assert line_of(bench("report", *options)).startswith(line)
    assert not (folder / "report.html").exists()


def test_several_folders_become_one_page_under_the_name_that_is_asked_for(folder: Path) -> None:
    write_results(folder / "a", [trained("simclr")])
    write_results(folder / "b", [trained("vicreg"), trained("simclr")])
    result = bench("report", "--results", "a", "--results", "b", "-o", "both.html")
    text = (folder / "both.html").read_text()

    assert result.exit_code == 0
    assert "2 cells: 2 ok. 1 more" in text
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("name", ["results", "nowhere"])
def test_a_folder_without_records_is_one_line_and_no_page(folder: Path, name: str) -> None:
    line = line_of(bench("report", "--results", name))

    assert line == f"Error: no records in {name}. Run `bench run` first."
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("output", ["taken/below.html", "absent/report.html"])
def test_a_page_that_cannot_be_written_is_one_line(folder: Path, output: str) -> None:
    write_results(folder / "results", [trained()])
    (folder / "taken").write_text("")

    assert line_of(bench("report", "-o", output)).startswith(f"Error: --output: {output} cannot be written (")


def test_a_page_of_records_alone_needs_neither_torch_nor_pandas(folder: Path) -> None:
    write_results(folder / "results", [trained(seed=seed) for seed in (0, 1)])
    code = (
        "import sys, pathlib\n"
        "from bench.report.page import build_page\n"
        "assert '70.00' in build_page([pathlib.Path('results')])\n"
        "print(sorted({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ)
    )

    assert done.stdout.splitlines()[-1] == "[]", done.stderr
