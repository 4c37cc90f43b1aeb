"""Complete commands, options and names for bash, zsh and fish: `bench completion SHELL`.

Each press of the key runs bench once, so nothing here imports torch: names are of the plugins' catalogues,
settings of what plugins declare.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench.registry.registry import Registry

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_BENCH_COMPLETE"
KIND_OF = {
    "method": "methods",
    "backbone": "backbones",
    "dataset": "datasets",
    "eval_dataset": "datasets",
    "eval": "evaluators",
    "executor": "executors",
    "format": "formats",
}  # by the parameter, what its values are
USUAL = {"method": "simclr", "backbone": "test_resnet", "dataset": "digits", "eval": "linear"}
ROLE_OF = {"evaluator": "eval"}  # of a part of `--set`, where the option is called otherwise
NO_SPACE = "="  # at the end of what goes on


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what has a shell complete commands, options, names and settings.

    \b
    bench completion bash >> ~/.bashrc
    bench completion zsh >> ~/.zshrc
    bench completion fish > ~/.config/fish/completions/bench.fish
    """  # noqa: D301
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101
    script = found(ctx.find_root().command, {}, "bench", VARIABLE).source()
    click.echo(_leave_no_space(shell, script))


def _leave_no_space(shell: str, script: str) -> str:
    """Return click's script, after which a name that ends in `=` is followed by no space; fish knows."""
    if shell == "bash":
        after = f"    [[ ${{COMPREPLY[0]}} == *{NO_SPACE} ]] && compopt -o nospace\n\n    return 0"
        return script.replace("    return 0", after, 1)
    if shell == "zsh":
        plain = "compadd -U -V unsorted -a completions"
        goes_on = "compadd -U -S '' -V unsorted -a completions"
        return script.replace(
            plain, f'if [[ "${{completions[1]}}" == *{NO_SPACE} ]]; then {goes_on}; else {plain}; fi'
        )
    return script


# ---- what there is


def complete_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of plugins that an option, or the argument after a kind, may have."""
    kind = KIND_OF.get(str(param.name)) or _kind_before(ctx)
    if kind is None:
        return []
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _list_names(_load(), kind) if name.startswith(last)]


def complete_kinds(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the kinds of plugins, and the settings that all trainings have."""
    from bench.registry.registry import KINDS, singular

    return [word for word in (*map(singular, KINDS), "train", "views") if word.startswith(incomplete)]


def complete_setting(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return `PART.FIELD=` of what is chosen before on the line, or the values of a field that has a few."""
    name, equals, value = incomplete.partition("=")
    known = dict(_list_settings(ctx))
    if equals:
        return [f"{name}={choice}" for choice in known.get(name, ()) if choice.startswith(value)]
    return [f"{setting}=" for setting in known if setting.startswith(name)]


def complete_axes(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the axes of a table; the last of a list."""
    from bench.reporting.axes import CELL_FIELDS, FOLDER

    before, comma, last = incomplete.rpartition(",")
    return [
        f"{before}{comma}{axis}" for axis in (*CELL_FIELDS, "seed", "metric", FOLDER) if axis.startswith(last)
    ]


def complete_metrics(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the metrics that the records of the folder have, and costs; the last of a list."""
    from bench.reporting.metric_choice import COSTS
    from bench.storage.records import RecordStore

    folders = ctx.params.get("results") or ("results",)
    folders = folders if isinstance(folders, tuple) else (folders,)
    with _silence():
        records = (record for folder in folders for record in RecordStore(folder).records())
        known = {name for record in records for name in record["metrics"]}
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in sorted({*known, *COSTS}) if name.startswith(last)]


def _kind_before(ctx: click.Context) -> str | None:
    from bench.registry.registry import KINDS, singular

    word = str(ctx.params.get("kind") or "").lower()
    return next((kind for kind in KINDS if word in (kind, singular(kind))), None)


def _list_names(registry: Registry, kind: str) -> Iterator[str]:
    for entry in registry.entries(kind):
        yield from registry.family_names(entry) if entry.family else (entry.name,)


def _list_settings(ctx: click.Context) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the settings of all parts that are chosen, with the values of those that have a few."""
    from bench.augmentation.view import View
    from bench.contracts.dataset_info import ROOT
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
        if option == "dataset":
            yield f"dataset.{ROOT}", ()


def _list_fields(part: str, config: type) -> Iterator[tuple[str, tuple[str, ...]]]:
    for field in dataclasses.fields(config):
        choices = tuple(map(str, field.metadata.get("choices") or ()))
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
