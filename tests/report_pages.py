"""Make results folders for reports by hand, and take a report's HTML apart."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from bench.keys import digest
from bench.report.results import Results
from bench.report.series import Names
from bench.reporting.formats.base import Table
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import SCHEMA, RecordStore

Build = Callable[..., tuple[Results, Table, Names]]  # of the fixture `build`
VOID = {"meta", "input", "br", "hr", "img", "link"}
EPOCH = {"step": 10, "lr": 0.1, "loss": 3.0, "term": 2.0, "z_std": 0.1, "images_per_s": 100.0, "seconds": 1.0}


def trained(
    method: str = "simclr",
    value: float = 70.0,
    *,
    seed: int = 0,
    label_frac: float | None = 1.0,
    **changes: Any,
) -> dict[str, Any]:
    """Return a record of a trained backbone; a change names a field of the cell or a part of the record."""
    cell: dict[str, Any] = {
        "method": method, "backbone": "resnet18", "dataset": "digits", "eval_dataset": "digits",
        "evaluator": "knn", "label_frac": label_frac, "seed": seed,
    }  # fmt: skip
    cell |= {name: changes.pop(name) for name in list(changes) if name in cell}
    settings = changes.get("settings", {})
    config = {
        "method": {},
        "evaluator": {},
        "training": {"epochs": 3, **{n.removeprefix("train."): v for n, v in settings.items()}},
    }
    training = [cell[name] for name in ("method", "backbone", "dataset", "seed")]
    return {
        "schema": SCHEMA,
        "cell": cell,
        "config": config,
        "settings": {},
        "status": "ok",
        "reason": None,
        "headline": "top1",
        "metrics": {"top1": {"value": value, "higher_is_better": True, "n": 10_000}},
        "protocol": {"features": "frozen", "probe": "offline", "checkpoint": "last epoch"},
        "cost": {"params": 1000, "flops": 2000, "seconds": {"pretrain": 60.0},
                 "passes": {"run": {"forward": 5000.0, "views": 5000.0, "backward": 5000.0}},
                 "threads": {"pretrain": [1], "evaluate": [1]}},
        "provenance": {"bench": "0.1.0", "git_commit": "abc", "packages": {"torch": "2.5"}, "device": "cpu"},
        "keys": {"backbone": digest([training, settings]), "score": digest([cell, settings])},
        **changes,
    }  # fmt: skip


def untrained(value: float = 50.0, **changes: Any) -> dict[str, Any]:
    """Return a record of a network that nothing was done to."""
    record = trained("random", value, **changes)
    record["config"]["training"] = {"image_size": 32}
    record["cost"] = {**record["cost"], "passes": None, "seconds": {"pretrain": 0.0}}
    return record


def write_results(
    folder: Path, records: Iterable[dict[str, Any]], logs: dict[str, Sequence[dict[str, Any]]] | None = None
) -> Path:
    """Write records, and the epochs of trainings by the key of their backbone; return the folder."""
    store, artifacts = RecordStore(folder), ArtifactStore(folder)
    for record in records:
        store.write(record)
    for key, epochs in (logs or {}).items():
        with artifacts.write(key) as work:
            (work / "metrics.jsonl").write_text("".join(f"{json.dumps(epoch)}\n" for epoch in epochs))
    return folder


def epochs(count: int, **values: Any) -> list[dict[str, Any]]:
    """Return the log of a training; a value is a number, or one for each epoch."""
    fixed = {name: value for name, value in values.items() if not isinstance(value, Sequence)}
    lists = {name: value for name, value in values.items() if isinstance(value, Sequence)}
    return [
        {"epoch": n + 1, **EPOCH, **fixed, **{name: value[n] for name, value in lists.items()}}
        for n in range(count)
    ]


def a_grid(folder: Path) -> Path:
    """Write trainings with two seeds, their curves, label fractions, and cells without a score."""
    generator = random.Random(0)  # noqa: S311 - for a test
    records, logs = [], {}
    for method, value in (("simclr", 60.0), ("vicreg", 65.0), ("supervised", 70.0)):
        for seed in (0, 1):
            for share in (0.1, 1.0):
                protocol = {"training_labels": share if method == "supervised" else 0.0, "features": "frozen"}
                record = trained(
                    method,
                    value + 10 * share + generator.random(),
                    seed=seed,
                    label_frac=share,
                    protocol=protocol,
                )
                records.append(record)
                logs[record["keys"]["backbone"]] = epochs(
                    4, loss=[4.0 - n + generator.random() for n in range(4)]
                )
    records += [
        untrained(40.0 + seed, seed=seed, label_frac=share) for seed in (0, 1) for share in (0.1, 1.0)
    ]
    records.append(trained("byol", status="failed", metrics={}, reason="the loss became nan"))
    records.append(trained("byol", status="skipped", metrics={}, reason="it needs labels", evaluator="mlp"))
    return write_results(folder, records, logs)


def a_thousand(folder: Path, count: int = 1000) -> Path:
    """Write as many cells, each of a training of its own, with six metrics and long curves."""
    generator = random.Random(0)  # noqa: S311 - for a test
    curve = [generator.random() for _ in range(60)]
    records, logs = [], {}
    for number in range(count):
        names = {"backbone": f"backbone{number // 10 % 5}", "dataset": f"data{number // 50 % 4}"}
        record = trained(f"method{number % 10}", 50 + 40 * generator.random(), seed=number // 200, **names,
                         eval_dataset=names["dataset"])  # fmt: skip
        for name in ("balanced_accuracy", "top5", "nll", "ece", "auroc"):
            record["metrics"][name] = {"value": generator.random(), "higher_is_better": True}
        records.append(record)
        logs[record["keys"]["backbone"]] = epochs(
            60, loss=curve, online_knn_top1=curve, h_std=curve, h_rankme=curve
        )
    return write_results(folder, records, logs)


@dataclass
class Node:
    """An element: its tag, attributes, children and texts."""

    tag: str
    attributes: dict[str, str | None]
    children: list[Node] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join([*self.texts, *(child.text for child in self.children)])

    def all(self, tag: str, **attributes: str) -> Iterator[Node]:
        """Yield all elements below of that tag, with these attributes (`_` for `-`)."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        for child in self.children:
            if child.tag == tag and all(child.attributes.get(n) == value for n, value in wanted.items()):
                yield child
            yield from child.all(tag, **attributes)

    def one(self, tag: str, **attributes: str) -> Node:
        (node,) = self.all(tag, **attributes)
        return node

    def everything(self) -> Iterator[Node]:
        for child in self.children:
            yield child
            yield from child.everything()


class Parser(HTMLParser):
    """Read HTML and refuse what is not well-formed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].texts.append(data)


def parse(text: str) -> Node:
    """Return the tree of a page; every element that is opened is closed, in its turn."""
    parser = Parser()
    parser.feed(text)
    parser.close()
    assert parser.open == [parser.root], f"<{parser.open[-1].tag}> is not closed"
    return parser.root


def rows_of(table: Node) -> list[list[str]]:
    """Return the texts of a table, its header first."""
    return [[cell.text for cell in row.children] for row in table.all("tr")]
