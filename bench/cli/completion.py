"""Complete commands, options and names for bash, zsh and fish: `bench completion SHELL`.

Each press of the key runs bench once, so nothing here imports torch: names are of the plugins' catalogues,
settings of what plugins declare, axes, values and rows of the records.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from bench.cli.shells import GOES_ON, SHELLS

if TYPE_CHECKING:
    from bench.registry.registry import Registry
    from bench.storage.records import Record

VARIABLE = "_BENCH_COMPLETE"
KIND_OF = {
    "method": "methods",
    "backbone": "backbones",
    "dataset": "datasets",
    "eval_dataset": "datasets",
    "eval": "evaluators",
    "evaluator": "evaluators",
    "executor": "executors",
    "log": "loggers",
    "format": "formats",
}  # by the parameter, what its values are
USUAL = {"method": "simclr", "backbone": "test_resnet", "dataset": "digits", "eval": "linear"}
PATHS = (("dir",), ("file",))  # in the place of choices: the shell completes a path
KEY = 8  # digits of a key that are offered
Completer = Callable[[click.Context, click.Parameter, str], list[Any]]


@click.command()
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what has a shell complete commands, options, names and settings.

    \b
    bench completion bash >> ~/.bashrc
    bench completion zsh >> ~/.zshrc
    bench completion fish > ~/.config/fish/completions/bench.fish
    """  # noqa: D301
    click.echo(SHELLS[shell](ctx.find_root().command, {}, "bench", VARIABLE).source())


# ---- what there is


def complete_words(*words: str) -> Completer:
    """Return what completes an option that has one of a few words."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[Any]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def complete_folders(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Have the shell complete a folder; of `DATASET=DIR`, what follows."""
    return [CompletionItem(incomplete.rpartition("=")[2], type="dir")]


def complete_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of plugins that an option, or the argument after a kind, may have."""
    kind = KIND_OF.get(str(param.name)) or _kind_before(ctx)
    return _offer_last(_list_names(_load(), kind), incomplete) if kind else []


def complete_kinds(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the kinds of plugins, and the settings that all trainings have."""
    from bench.registry.registry import KINDS, singular

    return [word for word in (*map(singular, KINDS), "train", "views") if word.startswith(incomplete)]


def complete_setting(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[Any]:
    """Return `PART.FIELD=` of what is chosen before on the line, or the values of a field that has a few."""
    name, equals, value = incomplete.partition("=")
    known = dict(_list_settings(ctx))
    if not equals:
        return [f"{setting}{GOES_ON}" for setting in known if setting.startswith(name)]
    if known.get(name) in PATHS:
        return [CompletionItem(value, type=known[name][0])]
    return [f"{name}={choice}" for choice in _offer_last(known.get(name, ()), value)]


def complete_axes(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the axes of a table; the last of a list."""
    from bench.reporting.axes import CELL_FIELDS, FOLDER

    return _offer_last((*CELL_FIELDS, "seed", "metric", FOLDER), incomplete)


def complete_conditions(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the axes of the records, and after `AXIS=` the values that they have; the last of a list."""
    from bench.reporting.axes import survey_records
    from bench.reporting.formats.values import format_value
    from bench.storage.data_names import ROLES, plugin_of

    before, comma, last = incomplete.rpartition(",")
    axis, equals, values = last.partition("=")
    with _silence():
        survey = survey_records(_read_records(ctx))
    if not equals:
        known = survey.axis_names() - {"metric"}
        return [f"{before}{comma}{name}{GOES_ON}" for name in sorted(known) if name.startswith(axis)]
    found = [
        format_value(value) for value in survey.values_on(survey.resolve_axis(axis)) if value is not None
    ]
    if axis in ROLES:
        found += [plugin_of(point.record, axis) for point in survey.kinds]
    printable = dict.fromkeys(filter(str.isprintable, found))
    return [f"{before}{comma}{axis}={value}" for value in _offer_last(printable, values, "|")]


def complete_metrics(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the metrics that the records of the folder have, and costs; the last of a list."""
    from bench.reporting.metric_choice import COSTS

    known = {name for record in _read_records(ctx) for name in record["metrics"] if name.isprintable()}
    return _offer_last(sorted({*known, *COSTS}), incomplete)


def complete_rows(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the rows of the table, by as few words as tell them apart."""
    trained = {(record["cell"]["method"], record["cell"]["backbone"]) for record in _read_records(ctx)}
    names = filter(str.isprintable, sorted(_name_shortly(trained).values()))
    return [name for name in names if name.startswith(incomplete)]


def complete_backbones(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the trained backbones of the folder by as few words as tell them apart, and their keys."""
    from bench.storage.data_names import titles_of

    words = {
        record["keys"]["backbone"]: (
            record["cell"]["method"],
            record["cell"]["backbone"],
            titles_of(record)[0],
            f",seed={record['cell']['seed']}",
        )
        for record in _read_records(ctx)
        if record["status"] == "ok"
    }
    named, twice = _name_shortly(set(words.values())), Counter(words.values())
    names = [named[own] if twice[own] == 1 else key[:KEY] for key, own in words.items()]
    keys = [key[:KEY] for key in words] if incomplete else []
    shown = filter(str.isprintable, dict.fromkeys((*names, *keys)))
    return [name for name in shown if name.startswith(incomplete)]


def _name_shortly(rows: AbstractSet[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Return each row's first words, with slashes between, so many that no other row begins with them."""
    names = {}
    for row in rows:
        ends = range(1, len(row))
        end = next((end for end in ends if all(other[:end] != row[:end] for other in rows - {row})), len(row))
        names[row] = "/".join(row[:end]).replace("/,", ",")
    return names


def _offer_last(names: Iterable[str], incomplete: str, between: str = ",") -> list[str]:
    """Return a list with each name that its last part may become."""
    before, mark, last = incomplete.rpartition(between)
    return [f"{before}{mark}{name}" for name in names if name.startswith(last)]


def _read_records(ctx: click.Context) -> list[Record]:
    """Return the records of the folders that the line names."""
    from bench.storage.records import RecordStore

    folders = ctx.params.get("results") or ("results",)
    folders = folders if isinstance(folders, tuple) else (folders,)
    with _silence():
        return [record for folder in folders for record in RecordStore(Path(folder)).records()]


def _kind_before(ctx: click.Context) -> str | None:
    from bench.registry.registry import KINDS, find_meant

    return find_meant(str(ctx.params.get("kind") or ""), KINDS)


def _list_names(registry: Registry, kind: str) -> Iterator[str]:
    for entry in registry.entries(kind):
        yield from registry.family_names(entry) if entry.family else (entry.name,)


def _list_settings(ctx: click.Context) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the settings of all parts that are chosen, with the values of those that have a few."""
    from bench.augmentation.view import View
    from bench.contracts.dataset_info import NAME, ROOT
    from bench.contracts.recipe import TrainConfig
    from bench.errors import BenchError

    yield from _list_fields("train", TrainConfig)
    yield from _list_fields("views", View)
    yield "views.ops", ()
    registry = _load()
    for option, usual in USUAL.items():
        names = _split(ctx.params.get(option)) or [usual]
        for name in names:
            with contextlib.suppress(BenchError):
                config = registry.declared(KIND_OF[option], name).Config
                for part in (name,) if option == "eval" else (option, name):
                    yield from _list_fields(part, config)
                    yield from _list_presets(registry, KIND_OF[option], part, name)
    for role in ("dataset", "eval_dataset"):
        yield f"{role}.{ROOT}", ("dir",)
        yield f"{role}.{NAME}", ()


def _list_fields(part: str, config: type) -> Iterator[tuple[str, tuple[str, ...]]]:
    for field in dataclasses.fields(config):
        choices = tuple(map(str, field.metadata.get("choices") or ()))
        if field.metadata.get("file"):
            choices = ("file",)
        yield (
            f"{part}.{field.name}",
            choices or (("true", "false") if isinstance(field.default, bool) else ()),
        )


def _list_presets(
    registry: Registry, kind: str, part: str, owner: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what a preset of others may be named for, with their names; nothing where there are none."""
    own = [one for one in registry.presets() if (one.kind, one.owner) == (kind, owner)]
    for slot in dict.fromkeys(one.slot for one in own):
        yield f"{part}.{slot}", tuple(one.preset.name for one in own if one.slot == slot)


def _split(values: Any) -> list[str]:
    texts: Iterable[str] = (values,) if isinstance(values, str) else values or ()
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def _load() -> Registry:
    from bench.registry.registry import Registry

    with _silence():
        return Registry.load()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what plugins and stores say off a line that is being typed."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
