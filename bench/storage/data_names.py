"""Say which data a record is of: by the name that it has for people, and by its content.

A data set that comes with its plugin has the plugin's name. A folder has one of its own, in the record's
cell: `dataset_name`. Two of one name and other content are told apart by the first digits of their content.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.keys import canonical

ROLES = ("dataset", "eval_dataset")
OTHERS = ("fingerprint", "dist", "version")  # in a record's config, beside what was set
DIGITS = 6

Record = Mapping[str, Any]


class Data(NamedTuple):
    """The data of a record in one of its roles.

    Args:
        plugin: the name that it was asked for by.
        title: the name that it has for people.
        content: a digest of what is in it, whatever is selected; empty where that is not known.
    """

    plugin: str
    title: str
    content: str

    @property
    def is_named(self) -> bool:
        """Whether it has a name beside that of its plugin."""
        return self.title != self.plugin


def data_of(record: Record) -> tuple[Data, Data]:
    """Return what a record was trained on, and what it is evaluated on."""
    trained, evaluated = (_find(record, role) for role in ROLES)
    return trained, evaluated if evaluated.plugin else trained


def plugin_of(record: Record, role: str) -> str:
    """Return the plugin of a record's data in a role; of what is no role of data, nothing."""
    return data_of(record)[ROLES.index(role)].plugin if role in ROLES else ""


def titles_of(record: Record) -> tuple[str, str]:
    """Return what people call what a record was trained on, and what it is evaluated on."""
    trained, evaluated = data_of(record)
    return trained.title, evaluated.title


def _find(record: Record, role: str) -> Data:
    cell, config = record["cell"], (record.get("config") or {}).get(role) or {}
    plugin = cell.get(role) or ""
    content = (record.get("contents") or {}).get(role) or config.get("fingerprint") or ""
    return Data(plugin, cell.get(f"{role}_name") or plugin, content)


def is_transfer(record: Record) -> bool:
    """Tell whether a record is evaluated on other data than it was trained on."""
    trained, evaluated = name_data([record])[0]
    return trained != evaluated


def name_data(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Return the names of what each record was trained and is evaluated on: alike only where the data is.

    Args:
        records: all that are shown together.
    """
    records = list(records)
    pairs = [data_of(record) for record in records]
    titles = _share_titles(data for pair in pairs for data in pair)
    unexplained = _find_unexplained(records, pairs)
    kinds: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)  # by title, the plugins and contents
    for data in dict.fromkeys(data for pair in pairs for data in pair):
        kinds[_title(data, titles)][_kind(data, unexplained)] = None
    names: dict[Data, str] = {}

    def name(data: Data) -> str:
        if data not in names:
            title = _title(data, titles)
            names[data] = _tell_apart(title, _kind(data, unexplained), list(kinds[title]))
        return names[data]

    return [(name(trained), name(evaluated)) for trained, evaluated in pairs]


def _share_titles(data: Iterable[Data]) -> dict[tuple[str, str], str]:
    """Return the name of each content that has one: records that are older than names have none."""
    titles: dict[tuple[str, str], str] = {}
    for one in dict.fromkeys(data):
        if one.is_named and one.content:
            titles.setdefault((one.plugin, one.content), one.title)
    return titles


def _title(data: Data, titles: Mapping[tuple[str, str], str]) -> str:
    return titles.get((data.plugin, data.content), data.title)


def _find_unexplained(records: Sequence[Record], pairs: Sequence[tuple[Data, Data]]) -> set[str]:
    """Return the plugins whose data has two contents at the same settings.

    Where each content has settings of its own, such as a fold, these tell them apart.
    """
    contents: dict[tuple[str, str], set[str]] = defaultdict(set)
    written: dict[int, str] = {}
    for record, pair in zip(records, pairs, strict=True):
        for role, data in zip(ROLES, pair, strict=True):
            config = (record.get("config") or {}).get(role) or {}
            if data.content:
                if id(config) not in written:
                    written[id(config)] = canonical({k: v for k, v in config.items() if k not in OTHERS})
                contents[data.plugin, written[id(config)]].add(data.content)
    return {plugin for (plugin, _), found in contents.items() if len(found) > 1}


def _kind(data: Data, unexplained: set[str]) -> tuple[str, str]:
    """Return what tells data from other data of its title: nothing where its settings do."""
    return data.plugin, data.content if data.is_named or data.plugin in unexplained else ""


def _tell_apart(title: str, kind: tuple[str, str], kinds: Sequence[tuple[str, str]]) -> str:
    """Return a title, with what tells it from others of the same title."""
    plugin, content = kind
    if len({one for one, _ in kinds}) > 1 and plugin != title:
        title = f"{title} ({plugin})"
    others = [other for one, other in kinds if one == plugin and other]
    return f"{title} ({content[:DIGITS]})" if len(others) > 1 and content else title
