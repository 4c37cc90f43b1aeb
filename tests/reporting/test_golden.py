"""Whole tables in every format, byte for byte as the files in `golden/` have them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from made_records import make, sweep

from bench.reporting.table import table

GOLDEN = Path(__file__).parent / "golden"
ENDINGS = {
    "github": "md",
    "plain": "txt",
    "latex": "tex",
    "html": "html",
    "html-fragment": "fragment.html",
    "csv": "csv",
    "json": "json",
}
FINE_TUNED = {"features": "fine-tuned", "selected_split": "train"}

Records = list[dict[str, Any]]


def seeds() -> Records:
    """Return two methods of two seeds each: the table that a paper has."""
    return [
        make(method, 60.0 + 7 * seed + 2 * number, seed=seed)
        for number, method in enumerate(("simclr", "vicreg"))
        for seed in (0, 1)
    ]


def transfer() -> Records:
    """Return pairs of data sets, of which one failed, one was skipped and one lacks a seed."""
    records = [
        make(method, 50.0 + 3 * number + seed, dataset=trained, eval_dataset=evaluated, seed=seed)
        for method in ("a_b", "c|d")
        for number, (trained, evaluated) in enumerate((("x", "x"), ("x", "y"), ("y", "y"), ("z", "y")))
        for seed in (0, 1)
    ]
    records[1] |= {"status": "failed", "metrics": {}, "reason": "the loss became nan\nat 50 %"}
    for record in records[-2:]:
        record |= {"status": "skipped", "metrics": {}, "reason": "too <small> & 1e5"}
    return records


def protocols() -> Records:
    """Return probes, one of them swept, beside networks that saw labels or were fine-tuned."""
    records = sweep("knn.k", 20, 200, label_frac=None)
    records += [
        make(method, 10.0 * number, label_frac=share, evaluator="linear", protocol={"training_labels": seen})
        for number, (method, share, seen) in enumerate(
            (("simclr", 0.01, 0), ("simclr", 1.0, 0), ("supervised", 0.01, 0.01), ("supervised", 1.0, 1))
        )
    ]
    measures = {
        "rankme": {"value": 12.3456, "higher_is_better": None},
        "nll": {"value": 0.5, "higher_is_better": False},
    }
    records.append(make(evaluator="geometry", label_frac=None, headline="rankme", metrics=measures))
    return [*records, make(evaluator="finetune", protocol=FINE_TUNED, backbone="resnet50")]


def oddities() -> Records:
    """Return records that only their keys tell apart, numbers that are not finite, several values of n."""
    records = [make(value=value, keys={"score": key * 20}) for value, key in ((60, "a"), (70, "b"))]
    records += sweep("views.ops", ("crop", "flip"), (), method="0012")
    records += sweep("method.flag", *(True, None), method="1e5")
    records += [make("infinite", math.inf), make("undefined", math.nan), make("many", 1.0, seed=1)]
    return [*records, make("many", 2.0, seed=2), make("many", 4.0, seed=3)]


TABLES: dict[str, tuple[Records, dict[str, Any]]] = {
    "seeds": (seeds(), {}),
    "seeds-down": (seeds(), {"rows": "seed,metric", "cols": "method", "metric": "top1,nll"}),
    "transfer": (transfer(), {}),
    "transfer-pairs": (transfer(), {"cols": ["dataset", "eval_dataset"], "metric": "nll"}),
    "protocols": (protocols(), {"cols": "label_frac", "mix_protocols": True}),
    "protocols-metrics": (protocols(), {"metric": "top1,nll,rankme"}),
    "oddities": (oddities(), {}),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("form", ENDINGS)
def test_a_table_is_byte_for_byte_as_it_was(name: str, form: str) -> None:
    records, options = TABLES[name]
    expected = (GOLDEN / f"{name}.{ENDINGS[form]}").read_text(encoding="utf-8")

    assert table(records, format=form, **options) + "\n" == expected
