"""Every command that reads records, on a folder that a stranger may have made."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_records import ESCAPES, MARKUP, change, list_changes, place, read_real
from made_records import full_record
from small_runs import bench

from bench.plain_text import UNSEEN_BUT_LAYOUT
from bench.storage.records import RecordStore

REAL = Path(__file__).parents[2] / "results" / "ten-epochs" / "records"
FORMATS = ("github", "plain", "csv", "json", "latex", "html", "html-fragment")
ODD = f"=HYPERLINK(1){ESCAPES}{MARKUP}"
LEFT_OUT = "What is shown lacks the records named above; the exit status is 1."


def list_commands(folder: Path) -> dict[str, list[str]]:
    """Return the command lines that read the records of `folder / "r"`."""
    results = ["--results", str(folder / "r")]
    table = ["table", *results, "--mix-protocols"]
    ranking = ["ranking", "--method", "honest,fair", "--between", "none", *results]
    return {
        "status": ["status", *results],
        **{f"table {name}": [*table, "--format", name] for name in FORMATS},
        "table parquet": [*table, "--format", "parquet", "--output", str(folder / "t.parquet")],
        "table xlsx": [*table, "--format", "xlsx", "--output", str(folder / "t.xlsx")],
        "table axes": [
            *table,
            "--rows",
            "method,seed,label_frac",
            "--metric",
            "top1,params,seconds_pretrain",
        ],
        "table where": [*table, "--where", "method=simclr", "--sort", "name"],
        "report": ["report", *results, "-o", str(folder / "o.html")],
        "compare": ["compare", "method=honest", "method=fair", *results],
        "compare json": ["compare", "method=honest", "method=fair", "--format", "json", *results],
        "ranking": [*ranking, "--format", "text"],
        "ranking csv": [*ranking, "--format", "csv"],
        "export": ["export", "honest", str(folder / "x"), *results],
        "merge": ["merge", str(folder / "r"), "--into", str(folder / "m")],
        "verify": ["verify", *results],
        "gc": ["gc", *results, "--dry-run"],
        "rm": ["rm", *results, "--where", "method=honest", "--dry-run"],
        "upgrade": ["upgrade", *results, "--dry-run"],
    }


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two honest methods on two data sets, and of changes of real records."""
    folder = tmp_path_factory.mktemp("stranger")
    store = RecordStore(folder / "r")
    for number, (method, dataset, seed) in enumerate(
        (method, dataset, seed) for method in ("honest", "fair") for dataset in ("a", "b") for seed in (0, 1)
    ):
        record = full_record(f"s{number}", method=method, dataset=dataset, eval_dataset=dataset, seed=seed)
        record["metrics"]["top1"]["value"] += number
        store.write({**record, "keys": {**record["keys"], "backbone": method}})
    draws = np.random.default_rng(11)
    for method in ("simclr", "random"):
        real = read_real(REAL / method)
        changes = [one for one in list_changes(real) if not one[0].startswith("protocol")]
        for number in draws.permutation(len(changes))[:40]:
            name, path, value = changes[number]
            place(store, f"{method} {name}", change(real, path, value))
    return folder


@pytest.mark.parametrize("name", list_commands(Path()))
def test_a_command_is_done_with_what_is_sound_and_its_exit_status_says_so(stranger: Path, name: str) -> None:
    done = bench(*list_commands(stranger)[name])

    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    assert not UNSEEN_BUT_LAYOUT.search(done.output)
    if name == "export":  # there are no artifacts
        assert done.exit_code == 2
        assert "the backbone of honest" in done.stderr
    elif name == "gc":  # nothing can go
        assert done.exit_code == 0
    else:
        assert done.exit_code == 1, done.output[-2000:]
    if name.partition(" ")[0] in ("table", "status", "report", "merge", "compare"):
        assert LEFT_OUT in done.stderr


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of records whose every text is odd, and which have the shape of records."""
    folder = tmp_path_factory.mktemp("odd")
    store = RecordStore(folder / "r")
    metrics = {name: {"value": 50.0, "higher_is_better": True, "n": 360} for name in ("top1", ODD)}
    texts: dict[str, Any] = {
        "settings": {f"method.{ODD}": ODD, "method.temperature": ODD}, "headline": ODD, "classes": [ODD, "b"],
        "notes": [ODD], "provenance": {ODD: ODD}, "protocol": {"features": ODD, ODD: ODD},
        "config": {"method": {ODD: ODD}, "training": {"epochs": 1, ODD: ODD}, "views": [{ODD: ODD}]},
        "metrics": metrics,
    }  # fmt: skip
    for seed in range(2):
        cell = {"method": ODD, "evaluator": ODD, "dataset": ODD, "eval_dataset": ODD, "backbone": ODD}
        store.write(full_record(f"s{seed}", seed=seed, **cell, **texts))
    broken = {"status": "failed", "metrics": {}, "reason": ODD, "error": {"type": ODD, "message": ODD}}
    store.write(full_record("s9", method=f"{ODD}2", seed=9, **{**texts, **broken}))
    store.write(full_record("s10"))
    return folder


@pytest.mark.parametrize("name", list_commands(Path()))
def test_no_text_of_a_record_steers_a_terminal(odd: Path, name: str) -> None:
    done = bench(*list_commands(odd)[name])

    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    assert not UNSEEN_BUT_LAYOUT.search(done.output)
    assert "<script>" not in done.output or name.partition(" ")[0] not in ("table html", "report")


def render(odd: Path, form: str) -> str:
    return bench(*list_commands(odd)[f"table {form}"]).stdout


@pytest.mark.parametrize("form", ["html", "html-fragment"])
def test_no_text_of_a_record_is_an_element_of_a_page(odd: Path, form: str) -> None:
    page = render(odd, form)

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&#8238;" not in page


def test_no_text_of_a_record_is_an_element_of_a_report(odd: Path) -> None:
    assert bench(*list_commands(odd)["report"], "--figures", str(odd / "f")).exit_code == 0
    page = (odd / "o.html").read_text()

    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert not UNSEEN_BUT_LAYOUT.search(page)
    assert not any("<script>alert" in path.read_text() for path in (odd / "f").glob("*.svg"))


def test_no_text_of_a_record_is_a_command_of_latex(odd: Path) -> None:
    text = render(odd, "latex")

    assert r"\textbackslash{}input\{/etc/passwd\}" in text
    assert r"\input" not in text


def test_no_text_of_a_record_is_a_link_a_picture_or_a_cell_of_markdown(odd: Path) -> None:
    text = render(odd, "github")

    assert not re.search(r"(?<!\\)!\[x\]\(", text)
    assert "](http" not in text
    assert r"\<script>" in text
    assert r"\&#8238;" in text


def test_no_text_of_a_record_is_a_formula_of_a_spreadsheet(odd: Path) -> None:
    rows = list(csv.reader(io.StringIO(render(odd, "csv"))))

    assert any(field.startswith("'=HYPERLINK") for row in rows for field in row)
    assert not any(re.match(r"[=+@\t\r]|-(?![0-9.])", field) for row in rows for field in row)


def test_a_sound_folder_is_read_with_exit_status_0(tmp_path: Path) -> None:
    RecordStore(tmp_path / "r").write(full_record())
    for name in ("status", "table github", "report", "verify", "merge"):
        done = bench(*list_commands(tmp_path)[name])

        assert (done.exit_code, LEFT_OUT in done.output) == (0, False), name
