"""The operations of a view by their names, and what `--set views.…` makes of a method's views.

`views.ops` keeps the operations it names and switches the others off. It is no field of a view but is
folded into its fields: how a view was asked for does not change its key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.augmentation.view import View
from bench.config import build
from bench.errors import BadValue, UnknownName, suggest

OPS = "ops"  # of `--set views.ops=[crop,flip]`


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of `bench.augmentation.view.View`.

    Args:
        name: in `views.ops`.
        off: field to the value at which the operation is off; all of them have to be there.
        on: the field that switches it on, and a usual value of it.
        strengths: its other fields.
    """

    name: str
    off: Mapping[str, float]
    on: tuple[str, float]
    strengths: tuple[str, ...] = ()

    def is_on(self, view: View) -> bool:
        """Tell whether `view` has the operation switched on."""
        return any(getattr(view, field) != value for field, value in self.off.items())


def _chance(name: str, usual: float, *strengths: str) -> Operation:
    return Operation(name=name, off={name: 0.0}, on=(name, usual), strengths=strengths)


IN_ORDER = (  # of application
    _chance("affine", 0.5, "rotate", "translate", "zoom", "shear"),
    Operation(name="crop", off={"crop_min": 1.0, "crop_max": 1.0, "crop_ratio": 1.0}, on=("crop_min", 0.08)),
    _chance("flip", 0.5),
    _chance("jitter", 0.8, "brightness", "contrast", "saturation", "hue"),
    _chance("grey", 0.2),
    _chance("blur", 0.5, "blur_min", "blur_max"),
    _chance("solarise", 0.2),
)
NAMES = tuple(operation.name for operation in IN_ORDER)


def check_ops(ops: Any) -> None:
    """Refuse a value of `views.ops` that is no list of operations. None is allowed: it keeps all.

    Raises:
        BadValue: it is no list, or names an operation twice.
        UnknownName: no operation has that name.
    """
    if ops is None:
        return
    if not isinstance(ops, (list, tuple)):
        remedy = f"Write it in brackets: views.ops=[{ops}], in a grid file [[{ops}]]."
        raise BadValue(f"--set views.ops: {ops!r} is not a list. {remedy}")
    for name in ops:
        if name not in NAMES:
            near = suggest(str(name), NAMES)
            raise UnknownName(f"--set views.ops: no operation is named {name!r}.{near}")
        if ops.count(name) > 1:
            raise BadValue(f"--set views.ops: {name!r} is named twice. Name each operation once.")


def changed_views(views: Sequence[View], values: Mapping[str, Any], method: str) -> tuple[View, ...]:
    """Return a method's views with what the user set. A field is set in every view.

    Args:
        views: the method's own.
        values: by field of a view, or `ops`.
        method: whose views they are, for errors.

    Raises:
        UsageError: a value cannot be used, or `ops` names what is off.
    """
    fields = {name: value for name, value in values.items() if name != OPS}
    built = tuple(build(type(view), {**asdict(view), **fields}, "views") for view in views)
    ops = values.get(OPS)
    return built if ops is None else _keep_only(built, ops, method)


def _keep_only(views: Sequence[View], ops: Collection[str], method: str) -> tuple[View, ...]:
    """Return the views without the operations that are not in `ops`."""
    for operation in IN_ORDER:
        if operation.name in ops and not any(map(operation.is_on, views)):
            field, usual = operation.on
            raise BadValue(
                f"views.ops: {operation.name} is named, but it is off in the views of {method}. "
                f"Switch it on as well, e.g. views.{field}={usual:g}, or leave it out."
            )
    off: dict[str, Any] = {}
    for operation in IN_ORDER:
        if operation.name not in ops:
            off |= operation.off
    return tuple(replace(view, **off) for view in views)
