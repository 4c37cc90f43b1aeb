"""`bench table`: which records, under which names, in which file, and the same again from its sidecar."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from made_records import cells, make

from bench.cli.main import main
from bench.storage.records import RecordStore

FROM = ("--from", "t.md.keys.json")
EXPORTS = {
    "github": (),
    "latex": ("--label", "tab:a", "--digits", "1", "--sort", "name", "--name", "simclr=SimCLR"),
    "html": ("--transpose", "--metric", "top1,nll"),
    "csv": ("--rows", "method,folder"),
    "json": ("--where", "method=simclr"),
    "xlsx": (),
    "parquet": ("--reference",),
}


def bench(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["table", *map(str, args)])


def line_of(result: Result) -> str:
    """Return the one line that a refused command prints."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture
def results(folder: Path) -> Path:
    for method, value in (("simclr", 60.0), ("vicreg", 65.0)):
        for seed in (0, 1):
            record = make(method, value + seed / 10, dataset="cifar10", evaluator="linear", seed=seed)
            RecordStore(folder / "results").write(record)
    return folder / "results"


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize("option", ["--metric", "--rows", "--cols"])
def test_a_name_that_is_empty_is_refused(option: str) -> None:
    assert line_of(bench(option, "")) == f"Error: {option}: it is empty. Name one, or leave it out."
    assert f"{option}: 'seed,' has an empty name." in line_of(bench(option, "seed,"))


@pytest.mark.usefixtures("results")
def test_what_is_asked_for_twice_is_said_and_is_there_once() -> None:
    twice = bench("--metric", "top1,top1", "--results", "results", "--results", "./results")

    assert "Note: --metric: top1 is named twice, and counts once.\n" in twice.stderr
    assert "results is named twice, and counts once.\n" in twice.stderr
    assert twice.stdout == bench("--metric", "top1").stdout


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize(
    ("option", "written", "meant"),
    [("--metric", "accuracy", "top1"), ("--rows", "model", "backbone"), ("--rows", "probe", "evaluator"),
     ("--cols", "fraction", "label_frac"), ("--format", "markdown", "github")],
)  # fmt: skip
def test_words_of_the_field_are_understood(option: str, written: str, meant: str) -> None:
    assert f"{written!r}. Did you mean {meant!r}" in line_of(bench(option, written))


@pytest.mark.usefixtures("results")
def test_the_options_go_together() -> None:
    result = bench("--where", "method=simclr|vicreg", "--where", "seed=0", "--sort", "top1", "--digits", "1",
                   "--name", "vicreg=VICReg,cifar10=CIFAR-10", "--reference")  # fmt: skip

    assert [line[:2] for line in cells(result.stdout)] == [
        ["method", "top1"],
        ["VICReg", "**65.0**"],
        ["simclr", "60.0"],
    ]
    assert "data set CIFAR-10" in result.stdout
    assert re.search(r"^\[1] published as VICReg", result.stdout, re.MULTILINE)


@pytest.mark.usefixtures("results")
def test_names_of_a_file_give_way_to_those_on_the_line(folder: Path) -> None:
    (folder / "names.yaml").write_text("names: {simclr: One, vicreg: Two, somewhere_else: Three}\n")
    result = bench("--names", "names.yaml", "--name", "simclr=SimCLR")

    assert [line[0] for line in cells(result.stdout)] == ["method", "SimCLR", "Two"]


@pytest.mark.usefixtures("results")
def test_several_folders_are_one_table(folder: Path) -> None:
    RecordStore(folder / "more").write(make("byol", 50.0, dataset="cifar10", evaluator="linear"))
    result = bench("--results", "results", "--results", "more")

    assert [line[0] for line in cells(result.stdout)] == ["method", "simclr", "vicreg", "byol"]


@pytest.mark.parametrize("form", EXPORTS)
def test_a_table_is_made_again_from_its_sidecar_bit_for_bit(results: Path, form: str) -> None:
    assert bench("--format", form, *EXPORTS[form], "--output", "first").exit_code == 0
    RecordStore(results).write(make("later", dataset="cifar10", evaluator="linear"))
    again = bench("--from", "first.keys.json", "--output", "second")

    assert (again.exit_code, again.output) == (0, "")
    assert Path("second").read_bytes() == Path("first").read_bytes()
    assert Path("second.keys.json").read_bytes() == Path("first.keys.json").read_bytes()


def test_a_sidecar_names_its_records_and_no_others(results: Path) -> None:
    bench("--where", "method=simclr", "--output", "t.md")
    places = json.loads(Path("t.md.keys.json").read_text())["records"]
    kept = [record for record in RecordStore(results).records() if record["cell"]["method"] == "simclr"]

    assert [place["key"] for place in places] == [record["keys"]["score"] for record in kept]
    assert {place["cell"]["method"] for place in places} == {"simclr"}


@pytest.mark.usefixtures("results")
def test_without_a_file_it_is_printed_as_it_was() -> None:
    bench("--output", "t.md")

    assert bench("--from", "t.md.keys.json").stdout == Path("t.md").read_text() == bench().stdout


def test_the_folder_may_have_moved(results: Path) -> None:
    bench("--rows", "folder,method", "--output", "t.md")
    results.rename(results.with_name("moved"))

    assert bench("--from", "t.md.keys.json", "--results", "moved").stdout == Path("t.md").read_text()


@pytest.mark.usefixtures("results")
def test_a_table_of_several_folders_is_made_again(folder: Path) -> None:
    RecordStore(folder / "more").write(make("byol", 50.0, dataset="cifar10", evaluator="linear"))
    bench("--results", "results", "--results", "more", "--output", "t.md")

    assert "byol" in Path("t.md").read_text()
    assert bench(*FROM).stdout == Path("t.md").read_text()


def test_a_record_that_is_missing_or_changed_is_one_line(results: Path) -> None:
    bench("--output", "t.md")
    first, second, *_ = sorted((results / "records").rglob("*.json"))
    content = first.read_text()
    first.write_text(content.replace('"value": 60', '"value": 61'))
    changed = line_of(bench("--from", "t.md.keys.json"))
    first.unlink()
    missing = line_of(bench("--from", "t.md.keys.json"))
    second.unlink()
    both = line_of(bench("--from", "t.md.keys.json"))
    shown = first.relative_to(results.parent)

    assert changed == f"Error: --from: {shown} was changed. Restore it, or make the table anew."
    assert missing == f"Error: --from: {shown} is missing. Restore it, or make the table anew."
    assert both.startswith(f"Error: --from: {shown} is missing, and so is 1 more. Restore it")


def test_a_record_that_was_made_anew_with_another_number_is_changed(results: Path) -> None:
    bench("--output", "t.md")
    record = next(RecordStore(results).records())
    record["metrics"]["top1"]["value"] += 1
    RecordStore(results).write(record)

    assert "was changed. Restore it, or make the table anew." in line_of(bench("--from", "t.md.keys.json"))


def test_a_record_that_is_only_laid_out_anew_is_the_same(results: Path) -> None:
    bench("--output", "t.md")
    for path in (results / "records").rglob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()), indent=3))

    assert bench("--from", "t.md.keys.json").stdout == Path("t.md").read_text()


@pytest.mark.usefixtures("results")
def test_a_table_that_comes_out_otherwise_is_refused() -> None:
    bench("--output", "t.md")
    sidecar = Path("t.md.keys.json")
    text = sidecar.read_text().replace('"digits": null', '"digits": 1')
    sidecar.write_text(text.replace('"bench": "', '"bench": "0.0.'))

    assert re.fullmatch(
        r"Error: --from: t\.md\.keys\.json: the records are as they were, but the table is not: bench was "
        r"0\.0\.\S+ and is \S+; stored predictions, published results or the format may be others\. "
        r"Make the table anew\.",
        line_of(bench("--from", "t.md.keys.json")),
    )


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory)."),
        ("{", "is not what `bench table --output` writes beside a table."),
        ("[]", "is not what `bench table --output` writes beside a table."),
        ('{"sidecar": 1}', "is not what `bench table --output` writes beside a table."),
        ('{"sidecar": 2}', "has form 2, this bench reads 1. Upgrade ssl-bench."),
        ("folder", "is not what `bench table --output` writes beside a table."),
        ("digits", "asks for digits 'x', which this bench has not. Restore it."),
        ("colour", "asks for colour 1, which this bench has not. Restore it."),
    ],
)
def test_what_is_no_sidecar_is_one_line(content: str | None, message: str) -> None:
    bench("--output", "t.md")
    good = Path("t.md.keys.json").read_text()
    changed = {
        "folder": good.replace('"folder": 0', '"folder": 1', 1),
        "digits": good.replace('"digits": null', '"digits": "x"'),
        "colour": good.replace('"digits": null', '"colour": 1'),
    }
    if content is not None:
        Path("other.json").write_text(changed.get(content, content))

    assert line_of(bench("--from", "other.json")).startswith(f"Error: --from: other.json {message}")


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((*FROM, "--rows", "method"), "--rows: t.md.keys.json says what the table is. Leave it out"),
        ((*FROM, "--names", "n.yaml"), "--names: t.md.keys.json says what the table is. Leave it out"),
        ((*FROM, "--results", "results", "--results", "b"),
         "--from: t.md.keys.json is of 1 folders (results), and --results has 2. Name as many"),
        (("--format", "xlsx"), "--format xlsx: it is a file and no text. Use --output FILE."),
        (("--output", "nowhere/t.md"), "--output: nowhere/t.md cannot be written (No such file"),
        (("--results", "results", "--results", "nowhere"), "no records in nowhere. Run `bench run` first,"),
        (("--results", "nowhere"), "no records in nowhere. Run `bench run` first."),
        (("--where", "method=simcl"), "--where: no record has method 'simcl'. Did you mean 'simclr'?"),
        (("--name", "simcl=S"), "--name: nothing in the table is named 'simcl'. Did you mean 'simclr'?"),
        (("--names", "n.yaml"), "--names: n.yaml cannot be read (No such file or directory)."),
        (("--sort", "linea"), "--sort: no column is named 'linea'."),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(args: tuple[str, ...], message: str) -> None:
    bench("--output", "t.md")

    assert line_of(bench(*args)).startswith(f"Error: {message}")


@pytest.mark.usefixtures("results")
def test_a_sidecar_that_cannot_be_written_is_one_line() -> None:
    Path("t.md.keys.json").mkdir()

    assert line_of(bench("--output", "t.md")) == (
        "Error: --output: t.md.keys.json cannot be written (Is a directory)."
    )


@pytest.fixture
def of_file_names(folder: Path) -> Callable[[str], Any]:
    def write(name: str) -> None:
        for record in (make(name), make("other", status="failed", reason=f"\udcff {name}")):
            RecordStore(folder / "results").write(record)

    return write


@pytest.mark.parametrize("name", ["\u202eé", "a\x00b", "<&|$\\>", "x" * 3000])
@pytest.mark.parametrize("form", ["github", "latex", "html", "csv", "json", "xlsx", "parquet"])
def test_odd_names_are_written_and_made_again(
    of_file_names: Callable[[str], Any], name: str, form: str
) -> None:
    of_file_names(name)
    result = bench("--format", form, "--output", "t")

    assert result.exit_code == 0, result.output
    assert bench("--from", "t.keys.json", "--output", "again").exit_code == 0
    assert Path("again").read_bytes() == Path("t").read_bytes()


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda said: said["records"][0].update(key="x" * 300), "is missing. Restore it"),
        (lambda said: said["records"][0].update(key="a\0b"), "is missing. Restore it"),
        (lambda said: said["records"][0].update(cell=["a"]), "is not what `bench table --output` writes"),
        (lambda said: said["records"][0].update(folder=[1]), "is not what `bench table --output` writes"),
        (lambda said: said["table"].update(digits=-1), "asks for digits -1, which this bench has not"),
        (lambda said: said["table"].update(digits=10**6), "asks for digits 1000000, which this"),
        (lambda said: said.update(folders=["x" * 5000]), "is missing, and so are"),
        (lambda said: said.update(folders=["a\0b"]), "is missing, and so are"),
    ],
    ids=["a long key", "a key with a zero", "a list as a cell", "a list as a folder", "digits -1",
         "too many digits", "a long folder", "a folder with a zero"],
)  # fmt: skip
def test_a_sidecar_that_was_not_written_so_is_one_line(change: Callable[[Any], object], said: str) -> None:
    bench("--output", "t.md")
    path = Path("t.md.keys.json")
    content = json.loads(path.read_text())
    for place in content["records"]:  # as those of folders whose name is their own
        place["cell"]["dataset_name"] = "photos"
    change(content)
    path.write_text(json.dumps(content))

    assert said in line_of(bench(*FROM))
