"""From a grid file and a command's options to one request: both have the same names."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.config import format_value
from bench.contracts.recipe import TrainConfig
from bench.errors import BadValue
from bench.planning.grid_file import read_grid
from bench.planning.option_values import (
    accept,
    read_axis,
    read_claims,
    read_count,
    read_device,
    read_flag,
    read_folder,
    read_gpus,
    read_loggers,
    read_name,
    read_seed,
    read_share,
    read_shots,
    read_timeout,
)
from bench.planning.request import Request
from bench.spelling import find_nearest, is_another_word

Where = Callable[[str], str]  # from an option's name to what an error about it starts with


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and how a grid is run: nothing of it is in a key.

    On a CPU, sums round otherwise with another number of threads; `threads` fixes it, whatever `jobs` is.

    Args:
        data_dir: where downloads and packed images are kept.
        results: where records and artifacts go.
        device: as `bench.system.device.choose` takes it.
        jobs: number of cells that are made at a time.
        devices: that make a cell together, a process each.
        threads: of each process; none is the processor's, shared out over the jobs.
        deterministic: a GPU takes algorithms that repeat themselves, where torch has them.
        executor: how cells are shared out; none is chosen by what is run.
        gpus: of this machine, that may be used; empty for all.
        gpus_per_cell: that a process has to itself, where GPUs are named.
        wait: for cells that other machines make.
        claims: how processes keep from making the same twice, of `bench.storage.claims`.
        log: loggers that are told of the run.
        download: what is missing may be downloaded.
        packed: decoded images are kept in a file, even where they would fit into memory.
        profile: a few steps of each training are profiled.
        timeout: seconds after which a cell that is not done is ended; none lets it take what it takes.
        retries: times that a cell which failed is tried again, by later runs.
        retry_failed: cells that have failed are tried again, however often they have.
        fail_fast: nothing more is made once a cell has failed.
    """

    data_dir: Path = Path("data")
    results: Path = Path("results")
    device: str = "auto"
    jobs: int = 1
    devices: int = 1
    threads: int | None = None
    deterministic: bool = False
    executor: str | None = None
    gpus: tuple[str, ...] = ()
    gpus_per_cell: int = 1
    wait: bool = False
    claims: str = "auto"
    log: tuple[str, ...] = ()
    download: bool = False
    packed: bool = False
    profile: bool = False
    timeout: float | None = None
    retries: int = 1
    retry_failed: bool = False
    fail_fast: bool = False


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a grid file or a command line says, read and checked by itself.

    Args:
        axes: fields of a `Request` to their values.
        settings: `part.field` to its values.
        runtime: fields of `Runtime` to their values.
        notes: what was asked for twice, a line each.
    """

    axes: Mapping[str, tuple[Any, ...]]
    settings: Mapping[str, tuple[Any, ...]]
    runtime: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def merged_over(self, below: Options) -> Options:
        """Return these options, and those of `below` that are not among them."""
        return Options(
            axes={**below.axes, **self.axes},
            settings={**below.settings, **self.settings},
            runtime={**below.runtime, **self.runtime},
            notes=(*below.notes, *self.notes),
        )

    def request(self, auto_precision: str) -> Request:
        """Return the request; `auto_precision` is what `precision=auto` is on the device at hand."""
        others = {"executor", self.runtime.get("executor"), *self.runtime.get("log", ())}
        settings = {
            name: values for name, values in self.settings.items() if name.partition(".")[0] not in others
        }
        axes = self.axes
        if "shots" in axes and "label_frac" not in axes:
            axes = {**axes, "label_frac": ()}  # it is shots that were asked for, and not all labels as well
        return Request(**axes, settings=settings, auto_precision=auto_precision)

    @property
    def executor_settings(self) -> dict[str, Any]:
        """The settings of the executor, by their names in its `Config`: they are no axis.

        Raises:
            BadValue: one has several values.
        """
        return self._own_settings("executor", self.runtime.get("executor"))

    @property
    def logger_settings(self) -> dict[str, dict[str, Any]]:
        """The settings of each logger, by their names in its `Config`: they are no axis.

        Raises:
            BadValue: one has several values.
        """
        return {name: self._own_settings(name) for name in self.runtime.get("log", ())}

    def _own_settings(self, *parts: str | None) -> dict[str, Any]:
        own = {name: values for name, values in self.settings.items() if name.partition(".")[0] in parts}
        for name, values in own.items():
            if len(values) > 1:
                raise BadValue(f"--set {name}: it has one value, not {len(values)}. Write a list as [A,B].")
        return {name.partition(".")[2]: values[0] for name, values in own.items()}


def merge_options(grid: Path | None, options: Mapping[str, Any]) -> Options:
    """Return the options of a grid file with those of the command line over them.

    Args:
        grid: the file, if there is one.
        options: of the command line, by name with `_` between words; those that were left out are none or
            an empty tuple. What may be repeated is a tuple of texts.

    Raises:
        UsageError: the file cannot be read, or a value is not of its option's type.
    """
    named = {name: value for name, value in options.items() if value is not None and value != ()}
    command_line = read_options(named, lambda name: f"--{name.replace('_', '-')}")
    if grid is None:
        return command_line
    values = read_grid(grid, (*AXES, *TRAINING, *RUNTIME, "set"))
    return command_line.merged_over(read_options(values, lambda name: f"{grid}: {name}"))


def read_options(values: Mapping[str, Any], where: Where) -> Options:
    """Return options in the types that they have.

    Args:
        values: by name. A tuple holds texts of a command line; anything else is as YAML reads it.
        where: what an error about an option starts with.

    Raises:
        BadValue: a value is not of its option's type.
    """
    axes = {
        field: read_axis(values[name], where(name), check)
        for name, (field, check) in AXES.items()
        if name in values
    }
    short = {
        f"train.{name}": read_axis(values[name], where(name), accept) for name in TRAINING if name in values
    }
    settings = _read_settings(values["set"], where("set")) if "set" in values else {}
    read = {
        **{where(name): axes[field] for name, (field, _) in AXES.items() if name in values},
        **{where(name): short[f"train.{name}"] for name in TRAINING if name in values},
        **{f"{where('set')} {name}": values for name, values in settings.items()},
    }
    for setting in short.keys() & settings.keys():
        option = where(setting.removeprefix("train."))
        raise BadValue(f"{option}: {setting} is set too, which is the same. Set one of them.")
    runtime = {name: check(values[name], where(name)) for name, check in RUNTIME.items() if name in values}
    return Options(
        axes={field: _take_once(values) for field, values in axes.items()},
        settings={name: _take_once(values) for name, values in {**short, **settings}.items()},
        runtime=runtime,
        notes=tuple(note for option, values in read.items() for note in _note_repeated(option, values)),
    )


def _take_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return values, each once."""
    return tuple({repr(value): value for value in values}.values())


def _note_repeated(option: str, values: tuple[Any, ...]) -> Iterator[str]:
    """Yield a line for each value that an option names more than once."""
    for written, count in Counter(map(format_value, values)).items():
        if count > 1:
            times = "twice" if count == 2 else f"{count} times"
            yield f"{option}: {written} is named {times}, and counts once."


def _read_settings(value: Any, where: str) -> dict[str, tuple[Any, ...]]:
    """Return settings by `part.field`, from texts of a command line or a mapping of a file."""
    if isinstance(value, tuple):
        pairs = [_split_pair(text, where) for text in value]
    elif isinstance(value, Mapping):
        pairs = [(str(name), values) for name, values in value.items()]
    else:
        raise BadValue(f"{where}: {value!r} is not a mapping. Write `set: {{method.temperature: 0.1}}`.")
    settings: dict[str, tuple[Any, ...]] = {}
    for name, values in pairs:
        part, _, field = name.partition(".")
        if not part or not field:
            raise BadValue(f"{where}: {name!r} is not PART.FIELD. Write it like {_find_example(name)}.")
        if name in settings:
            raise BadValue(f"{where} {name}: it is set twice. Write its values with a comma, {name}=A,B.")
        settings[name] = read_axis(values, f"{where} {name}", accept)
    return settings


def _split_pair(text: str, where: str) -> tuple[str, tuple[str]]:
    name, equals, value = text.partition("=")
    if not equals or not value.strip():
        example = "method.temperature=0.1" if "." in text else f"{_find_example(name)}=VALUE"
        raise BadValue(f"{where}: {text!r} is not PART.FIELD=VALUE. Write it like {example}.")
    return name.strip(), (value,)


def _find_example(name: str) -> str:
    """Return the setting of training that a name without a part means, or an example of any."""
    near = find_nearest(name, [field.name for field in dataclasses.fields(TrainConfig)])
    return f"train.{near[0]}" if near and is_another_word(name, near[0]) else "method.temperature"


AXES: dict[str, tuple[str, Callable[[Any, str], Any]]] = {  # option: field of the request, its type
    "method": ("method", read_name),
    "backbone": ("backbone", read_name),
    "dataset": ("dataset", read_name),
    "eval": ("evaluator", read_name),
    "label_frac": ("label_frac", read_share),
    "shots": ("shots", read_shots),
    "keep_one": ("keep_one", read_flag),
    "eval_dataset": ("eval_dataset", read_name),
    "seed": ("seed", read_seed),
}
TRAINING = ("epochs", "batch_size", "image_size", "precision")  # each short for `train.` and its name
RUNTIME: dict[str, Callable[[Any, str], Any]] = {
    "data_dir": read_folder,
    "results": read_folder,
    "device": read_device,
    "jobs": read_count,
    "devices": read_count,
    "threads": read_count,
    "deterministic": read_flag,
    "executor": read_name,
    "gpus": read_gpus,
    "gpus_per_cell": read_count,
    "wait": read_flag,
    "claims": read_claims,
    "log": read_loggers,
    "download": read_flag,
    "packed": read_flag,
    "profile": read_flag,
    "timeout": read_timeout,
    "retries": partial(read_count, least=0),
    "retry_failed": read_flag,
    "fail_fast": read_flag,
}
