"""Make what `bench table` prints or writes of what was asked for, and make it again of a sidecar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bench.bounds import MOST_DECIMALS
from bench.errors import BadData, UsageError
from bench.published.results import PublishedResult
from bench.reporting.axes import FOLDER
from bench.reporting.folders import FolderRecords, read_folders
from bench.reporting.naming import Names
from bench.reporting.presentation import Presentation
from bench.reporting.selection import Conditions, select_records
from bench.reporting.sidecar import (
    Sidecar,
    describe_records,
    encode_sidecar,
    hash_content,
    sidecar_path,
)
from bench.reporting.table import build_table
from bench.reporting.uncertainty import AUTO

TEXT_OR_NONE = (str, type(None))
KINDS: dict[str, Any] = {  # of values whose default does not say it
    "format": str, "rows": TEXT_OR_NONE, "cols": TEXT_OR_NONE, "metric": TEXT_OR_NONE,
    "digits": (int, type(None)), "names": dict,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """All that is asked of a table but which records it is of: plain values, that JSON can hold.

    Args:
        format: its name.
        rows: as of `build_table`.
        cols: as of `build_table`.
        metric: as of `build_table`.
        uncertainty: as of `build_table`.
        mix_protocols: as of `build_table`.
        digits: as of `Presentation`.
        sort: as of `Presentation`.
        transpose: as of `Presentation`.
        names: as of `Presentation`.
        label: as of `Presentation`.
        reference: put the nearest published result beside ours.
    """

    format: str
    rows: str | None = None
    cols: str | None = None
    metric: str | None = None
    uncertainty: str = AUTO
    mix_protocols: bool = False
    digits: int | None = None
    sort: str = ""
    transpose: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    reference: bool = False

    @property
    def asks_for_folders(self) -> bool:
        """Tell whether the folder is to be an axis in any case."""
        named = f"{self.rows or ''},{self.cols or ''}".split(",")
        return FOLDER in (name.strip() for name in named)


def request_of(sidecar: Sidecar, path: Path) -> TableRequest:
    """Return what was asked of the table of a sidecar.

    Raises:
        BadData: it says something else than a request has.
    """
    kinds = {one.name: type(one.default) for one in fields(TableRequest)} | KINDS
    asked = sidecar.asked
    for name, value in asked.items():
        is_one = name in kinds and isinstance(value, kinds[name])
        if not is_one or (name == "digits" and value is not None and not 0 <= value <= MOST_DECIMALS):
            raise BadData(f"--from: {path} asks for {name} {value!r}, which this bench has not. Restore it.")
    if "format" not in asked:
        raise BadData(f"--from: {path} names no format. Restore it.")
    return TableRequest(**{**asked, "names": {str(k): str(v) for k, v in asked.get("names", {}).items()}})


def read_selected(
    folders: Sequence[Path], conditions: Conditions, *, as_axis: bool
) -> tuple[FolderRecords, Sequence[Mapping[str, Any]]]:
    """Return the records of some folders, and those of them that have what is asked for.

    Args:
        folders: of results.
        conditions: what is asked for.
        as_axis: have the folder as an axis in any case.
    """
    found = read_folders(folders, as_axis=as_axis or FOLDER in conditions)
    return found, select_records(found.records, conditions)


def make_content(
    records: Sequence[Mapping[str, Any]],
    request: TableRequest,
    form: Any,
    folders: Sequence[Path],
    *,
    is_binary: bool = False,
    published: tuple[PublishedResult, ...] = (),
    required: tuple[str, ...] = (),
) -> str | bytes:
    """Return a table as text, or as the content of a file.

    Args:
        records: of the table.
        request: what is asked of it.
        form: an object of the format that is asked for, or what stands for one.
        folders: of results, where stored predictions are looked for.
        is_binary: the format is a `BinaryFormat`.
        published: where the nearest published results are looked for.
        required: names that have to be in the table.

    Raises:
        UsageError: as `build_table`, or an extra is missing.
    """
    table = build_table(
        records,
        rows=request.rows,
        cols=request.cols,
        metric=request.metric,
        uncertainty=request.uncertainty,
        mix_protocols=request.mix_protocols or not form.refuses_mixed,
        folder=folders,
        presentation=Presentation(
            digits=request.digits,
            sort=request.sort,
            transpose=request.transpose,
            names=Names(request.names),
            required=required,
            label=request.label,
            published=published if request.reference else None,
        ),
    )
    content: str | bytes = form.encode(table) if is_binary else form.render(table)
    return content


def to_bytes(content: str | bytes) -> bytes:
    """Return what a file has of a table: a text ends with a line break."""
    if isinstance(content, bytes):
        return content
    return f"{content}\n".encode("utf-8", "backslashreplace")  # half of a surrogate pair, from a file name


def write_table(output: Path, content: bytes, sidecar: Sidecar) -> None:
    """Write a table and, where it is a file of its own, its sidecar beside it.

    Raises:
        UsageError: one of them cannot be written.
    """
    path = output
    try:
        output.write_bytes(content)
        if output.is_file():  # /dev/stdout is none
            path = sidecar_path(output)
            path.write_text(encode_sidecar(sidecar), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {path} cannot be written ({error.strerror}).") from None


def make_sidecar(
    request: TableRequest,
    found: FolderRecords,
    records: Sequence[Mapping[str, Any]],
    content: bytes,
    bench: str,
) -> Sidecar:
    """Return what a table was made of.

    Args:
        request: what was asked of it.
        found: all records of the folders.
        records: those of the table.
        content: what was written.
        bench: its version.
    """
    return Sidecar(
        asked=asdict(replace(request, names=dict(request.names))),
        folders=tuple(map(str, found.folders)),
        places=describe_records(records, found.origins_of(records)),
        has_axis=found.is_axis,
        written=hash_content(content),
        bench=bench,
    )
