"""From a command's options and a grid file to one request: both have the same names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bench.errors import BadValue, UnknownName, UsageError, suggest
from bench.grid import Request

AXES = {  # option: field of the request
    "method": "method",
    "backbone": "backbone",
    "dataset": "dataset",
    "eval": "evaluator",
    "label-frac": "label_frac",
    "eval-dataset": "eval_dataset",
    "seed": "seed",
}
TRAINING = {  # option: what it is short for
    "epochs": "train.epochs",
    "batch-size": "train.batch_size",
    "image-size": "train.image_size",
    "precision": "train.precision",
}
RUNTIME = ("data-dir", "results", "device", "jobs", "download")
NUMBERS = {"label-frac": float, "seed": int}


def read_grid(path: Path) -> dict[str, Any]:
    """Return a grid file's options by name, with `-` between words.

    Raises:
        UnknownName: a key is not an option of `bench run`.
        UsageError: the file cannot be read as YAML options.
    """
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: the grid file cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: the grid file is not UTF-8 text.") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: the grid file is not YAML ({_where(error)}).") from None
    if not isinstance(options, dict):
        raise UsageError(f"{path}: the grid file holds no options. Write `method: [simclr]`, for one.")
    known = (*AXES, *TRAINING, *RUNTIME, "set")
    named = {str(name).replace("_", "-"): value for name, value in options.items()}
    for name in named:
        if name not in known:
            raise UnknownName(f"{path}: no option is named {name!r}.{suggest(name, known, most=0)}")
    return named


def merged(grid: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a grid file with those of the command line over them.

    `--set` goes over the file's `set` a setting at a time.
    """
    options = read_grid(grid) if grid is not None else {}
    settings = read_settings(options.pop("set", None)) | read_settings(given.get("set") or None)
    for name, setting in TRAINING.items():
        if given.get(name) is not None:
            settings.pop(setting, None)
        elif setting in settings and given.get("set") and setting in read_settings(given["set"]):
            options.pop(name, None)
    options |= {name: value for name, value in given.items() if value not in (None, ()) and name != "set"}
    return {**options, "set": settings}


def build_request(options: Mapping[str, Any], auto_precision: str) -> Request:
    """Return the request of merged options: each a value, a list, or text with commas.

    Args:
        options: by name, as a grid file has them; `set` is a mapping or a list of `PART.FIELD=VALUE`.
        auto_precision: what `precision=auto` is on the device at hand.

    Raises:
        BadValue: a value is not of its option's type.
    """
    axes = {
        field: tuple(dict.fromkeys(_typed(name, value) for value in as_list(options[name])))
        for name, field in AXES.items()
        if options.get(name) is not None
    }
    settings = {
        setting: as_list(options[name])
        for name, setting in TRAINING.items()
        if options.get(name) is not None
    }
    for setting, values in read_settings(options.get("set")).items():
        if setting in settings:
            option = next(name for name, meant in TRAINING.items() if meant == setting)
            raise BadValue(f"--set {setting}: it is set by --{option} too. Set it once.")
        settings[setting] = values
    frozen = {setting: tuple(values) for setting, values in settings.items()}
    return Request(**axes, settings=frozen, auto_precision=auto_precision)


def read_settings(given: Any) -> dict[str, list[Any]]:
    """Return the values of each setting: a mapping as it is, `PART.FIELD=VALUE` texts parsed."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): as_list(value) for name, value in given.items()}
    if not isinstance(given, (list, tuple)):
        raise BadValue(f"set: {given!r} is not a mapping. Write `set: {{method.temperature: 0.1}}`.")
    settings: dict[str, list[Any]] = {}
    for text in given:
        name, equals, value = str(text).partition("=")
        if not equals or not value:
            raise BadValue(f"--set: {text!r} is not PART.FIELD=VALUE.")
        if name in settings:
            raise BadValue(f"--set {name}: it is set twice. Write its values as one list, {name}=A,B.")
        settings[name.strip()] = as_list(value)
    return settings


def as_list(value: Any) -> list[Any]:
    """Return the values of an axis; text is split at its outer commas and each part read as YAML.

    `0.1,0.5` is two numbers; `[cat,dog]` is one list; of a list in YAML each item is a value.

    Raises:
        BadValue: there is no value between two commas, or a part is not YAML.
    """
    if isinstance(value, (list, tuple)):
        return [item for entry in value for item in (as_list(entry) if isinstance(entry, str) else [entry])]
    return [_scalar(part, value) for part in _outer_parts(value)] if isinstance(value, str) else [value]


def _scalar(part: str, whole: str) -> Any:
    if not part.strip():
        raise BadValue(f"{whole!r}: a value between commas is empty. Take the comma out.")
    try:
        return yaml.safe_load(part)
    except yaml.YAMLError as error:
        raise BadValue(f"{whole!r}: not a YAML value ({_where(error)}).") from None


def _outer_parts(text: str) -> list[str]:
    """Return `text` split at the commas that are in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _typed(name: str, value: Any) -> Any:
    kind = NUMBERS.get(name, str)
    wrong = isinstance(value, (bool, list, dict)) or value is None or (kind is str and not isinstance(value, str))
    try:
        typed = kind(value) if not wrong else None
    except ValueError:
        typed = None
    if typed is None or (kind is int and typed != value and str(typed) != str(value)):
        wanted = {float: "a number", int: "a whole number", str: "a name"}[kind]
        raise BadValue(f"--{name}: {value!r} is not {wanted}.")
    if kind is int and typed < 0:
        raise BadValue(f"--{name}: {value} is negative. Use 0 or more.")
    return typed


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "not readable"
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)
