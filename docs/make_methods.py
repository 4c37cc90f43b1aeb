"""Write docs/methods.md from the code: what each method is, needs and costs, and what was published of it.

    python docs/make_methods.py           # writes the page
    python docs/make_methods.py --check   # fails where the page is not what would be written

Costs are those of `benchmarks/method_costs.json`, which `make method-costs` measures.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Method
from bench.errors import Unsupported
from bench.inspection.plugins import list_formulas
from bench.nn.momentum import MomentumEncoder
from bench.nn.queue import FeatureQueue, MemoryBank
from bench.published.results import PublishedResult, load_published
from bench.registry.registry import Entry, Registry
from bench.testing.networks import CHANNELS, DIM, SIDE, Convolution, Patches

PAGE = Path(__file__).parent / "methods.md"
COSTS = Path(__file__).parent.parent / "benchmarks" / "method_costs.json"
LARGE = 224  # px: the recipe of a paper, whose crops are of several sizes where any are
IMAGES = 256  # a batch, and all there are
DATA = DatasetInfo(classes=("cat", "dog", "owl", "yak"), channels=CHANNELS, size=SIDE, images=IMAGES)
TEXT = Path(__file__).with_name("methods_text.md")


def main() -> None:
    """Write the page, or compare it with what would be written."""
    page = make_page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page:
        sys.exit("docs/methods.md is not what the code says. Run `make methods-page`.")


def make_page() -> str:
    """Return the page."""
    registry = Registry.load()
    entries = [entry for entry in registry.entries("methods") if entry.plugin.built_in]
    methods = [(entry, registry.import_class(entry)) for entry in entries]
    trained = [(entry, cls) for entry, cls in methods if cls.recipe is not None]
    head, foot = TEXT.read_text(encoding="utf-8").split("<!-- tables -->\n")
    blocks = [head.rstrip(), _overview(trained), *_sections(trained), foot.strip()]
    return "\n\n".join(blocks) + "\n"


def _overview(methods: list[tuple[Entry, type[Method]]]) -> str:
    """Return the table of all methods."""
    costs = json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.is_file() else {}
    rows = []
    for entry, cls in methods:
        method = build_method(cls)
        year = re.search(r"(19|20)\d\d", cls.reference)
        rows.append(
            (
                f"[`{entry.name}`](#{entry.name})",
                entry.group,
                year[0] if year else "",
                ", ".join(f"`{name}`" for name in list_terms(method)),
                ", ".join(list_needs(cls, method)),
                f"{costs[entry.name]:.2f}" if entry.name in costs else "",
            )
        )
    header = ("method", "family", "year", "terms", "needs", "cost of a step")
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def _sections(methods: list[tuple[Entry, type[Method]]]) -> Iterator[str]:
    """Yield what is said of each method by itself."""
    published = load_published()
    for entry, cls in methods:
        title, *_ = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "").splitlines()
        formulas = list_formulas(cls)
        lines = [f"## {entry.name}", "", title, "", f"{cls.reference}.", ""]
        lines += ["```text", formulas[0], "```"] if formulas else []
        rows = [
            result
            for result in published
            if result.method == entry.name and result.dataset in ("cifar10", "cifar100")
        ]
        if rows:
            lines += ["", _table(rows)]
        yield "\n".join(lines).rstrip()


def _table(results: list[PublishedResult]) -> str:
    """Return published results, those with most epochs first."""
    ordered = sorted(results, key=lambda r: (r.dataset, r.backbone, -(r.epochs or 0), r.evaluator, r.source))
    rows = [
        (
            result.dataset,
            result.backbone,
            result.epochs or "",
            result.batch_size or "",
            f"{result.published}, {result.evaluator}",
            f"{result.top1:g}",
            result.source.replace("|", "/"),
        )
        for result in ordered
    ]
    header = ("published on", "backbone", "epochs", "batch", "as", "top-1", "source")
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


# ---- what a method needs, as it is built


def build_method(cls: type[Method]) -> Method:
    """Return a method on a small network: of convolutions, or of patches where it takes no other."""
    torch.manual_seed(0)
    config = small_config(cls)
    for network in (Convolution, Patches):
        backbone: Any = network()
        try:
            cls.check(config, backbone.info, DATA, SIDE)
        except Unsupported:
            continue
        return cls(backbone, DIM, config, DATA)
    raise ValueError(f"{cls.__name__} takes neither a convolution nor patches.")


def small_config(cls: type[Method]) -> Any:
    """Return the defaults of a method, with no more prototypes than images."""
    config = cls.Config()
    return replace(config, prototypes=8) if hasattr(config, "prototypes") else config


def list_terms(method: Method) -> list[str]:
    """Return the names of a method's terms, of a batch of random images."""
    config = small_config(type(method))
    drawn = torch.Generator().manual_seed(0)
    views = [
        torch.randn(IMAGES, CHANNELS, view.side(SIDE), view.side(SIDE), generator=drawn)
        for view in type(method).views(config, DATA, SIDE)
    ]
    index = torch.arange(IMAGES)
    batch = Batch(index, index % len(DATA.classes), method.draw(IMAGES, drawn))
    with torch.no_grad():
        method.first_pass(method.embed(views, batch), batch)
        method.before_step(batch.step)
        return list(method.terms(method.embed(views, batch), batch))


def list_needs(cls: type[Method], method: Method) -> list[str]:
    """Return what a method needs beside a backbone and two views."""
    config = cls.Config()
    large = cls.views(config, DATA, LARGE)
    parts = {type(module) for module in method.modules()}
    network = method.backbone
    found = {
        "labels": cls.uses_labels,
        "patch tokens": isinstance(network, Patches),
        "a momentum network": MomentumEncoder in parts,
        "a queue": FeatureQueue in parts,
        "a row for each image": MemoryBank in parts,
        "small crops": len({view.size for view in large}) > 1,
        "one view": len(large) == 1,
    }
    return [name for name, needed in found.items() if needed]


if __name__ == "__main__":
    main()
