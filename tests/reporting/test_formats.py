from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

import pytest
from made_records import TEXT_FORMATS, caption, make, sweep, tidy

from bench.reporting.evidence import BOTH_BY_COUNTS, WILSON
from bench.reporting.table import table


@pytest.mark.parametrize("kind", TEXT_FORMATS)
def test_names_that_look_like_numbers_stay_as_they_are(kind: str) -> None:
    text = table([make("0012", dataset="1e5"), make("1e3", dataset="00")], format=kind)

    assert all(name in text for name in ("0012", "1e5", "1e3", "00"))
    assert "70.00" in text or "70.0" in text


def test_github_escapes_what_would_break_a_row() -> None:
    text = table([make("a|b\\"), make("c\nd*<i>")])

    assert "| a\\|b\\\\ " in text
    assert "| c d\\*\\<i> " in text
    assert (
        len({line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    )


def test_plain_marks_the_best_with_a_star_and_says_so() -> None:
    text = table([make("a", 1), make("b", 2)], format="plain", uncertainty="none")

    assert [line.split() for line in text.splitlines()[-2:]] == [["a", "1.00"], ["b", "2.00*"]]
    assert ". * is best or not significantly worse, where others are (" in caption(text)
    assert "best" not in table([make()], format="plain")


def test_latex_escapes_specials_and_uses_booktabs() -> None:
    records = [make("a_b&c%d#e$f{g}h~i^j\\k", seed=s) for s in (0, 1)] + [
        make("[x]", 1, status="failed", reason="50%")
    ]
    text = table(records, format="latex")
    body = text.split("\\midrule\n")[1]

    assert body.startswith(
        r"a\_b\&c\%d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k "
        r"& 70.00{\,$\pm$ 0.00} \\"
    )
    assert r"{[}x{]} & {failed {[}1{]}} \\" in body
    assert r"failed: 50\%" in body
    assert all(
        word in text for word in (r"\toprule", r"\bottomrule", r"\caption{top1 in percent, mean $\pm$")
    )
    assert text.isascii()


def test_latex_writes_the_best_bold_and_an_arrow() -> None:
    records = [make("a", 1, eval_dataset="x"), make("b", 2, eval_dataset="x"), make("a")]
    text = table(records, format="latex", uncertainty="none")
    pairs = table(records, cols="dataset,eval_dataset", format="latex")

    assert r"& \bfseries 2.00 &" in text
    assert r"digits $\to$ x" in pairs
    assert "& {--} " in text
    assert text.isascii()


def test_html_is_well_formed_and_escaped() -> None:
    open_tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            open_tags.extend([tag] * (tag != "meta"))

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    text = table(
        [make("<b>&", 1), make("c", 2), make("d", status="failed", reason="<x>")],
        format="html",
        uncertainty="none",
    )
    Tags().feed(text)

    assert open_tags == []
    assert '<th class="label" scope="row">&lt;b&gt;&amp;</th>' in text
    assert '<td class="number best"><strong>2.00</strong></td>' in text
    assert "<caption>top1 in percent" in text
    assert "[1] failed: &lt;x&gt;" in text


def test_csv_and_json_hold_numbers_reasons_and_all_axes() -> None:
    records = [make(seed=s, value=70.0 + s) for s in (0, 1)]
    records += [make('v,"q', seed=0), make('v,"q', seed=1, status="failed", reason="boom")]
    rows = list(csv.DictReader(io.StringIO(table(records, format="csv"))))

    assert list(rows[0]) == [
        "method", "backbone", "dataset", "eval_dataset", "evaluator", "label_frac",
        "metric", "mean", "std", "n", "low", "high", "interval", "higher_is_better", "best", "status",
        "reason",
        "features", "probe", "checkpoint", "selected_split",
    ]  # fmt: skip
    assert (rows[0]["mean"], rows[0]["n"], rows[0]["status"], rows[0]["reason"]) == ("70.5", "2", "ok", "")
    assert (rows[1]["method"], rows[1]["std"], rows[1]["status"]) == ('v,"q', "", "partial")
    assert (rows[1]["interval"], rows[0]["interval"]) == (WILSON, BOTH_BY_COUNTS)
    ends = {"low": 69.71521038881261, "high": 70.28325308668406, "interval": WILSON}
    assert tidy(records)[1] == ends | {
        "method": 'v,"q', "backbone": "resnet18", "dataset": "digits", "eval_dataset": "digits",
        "evaluator": "knn", "label_frac": 1.0, "metric": "top1", "mean": 70.0, "std": None, "n": 1,
        "higher_is_better": True, "best": False,
        "status": "partial", "reason": "failed: boom",
        "features": "frozen", "probe": "offline", "checkpoint": "last epoch", "selected_split": None,
    }  # fmt: skip


def test_csv_and_json_say_which_are_best_and_which_way_is_better() -> None:
    measures = {"rankme": {"value": 2.5, "higher_is_better": None}}
    records = [make("a", 1), make("b", 2), make("a", evaluator="geometry", label_frac=None, metrics=measures)]
    rows = list(csv.DictReader(io.StringIO(table(records, format="csv"))))

    assert [(row["higher_is_better"], row["best"]) for row in rows] == [
        ("true", "false"), ("", "false"), ("true", "true"),
    ]  # fmt: skip
    assert [(row["higher_is_better"], row["best"]) for row in tidy(records)] == [
        (True, False), (None, False), (True, True),
    ]  # fmt: skip


def test_csv_and_json_name_the_settings_that_vary() -> None:
    rows = tidy(sweep("method.temperature", 0.1, 0.5))

    assert [row["method.temperature"] for row in rows] == [0.1, 0.5]


def test_latex_has_a_command_for_every_sign_that_a_table_or_a_reason_may_have() -> None:
    reason = "a -> b ± – † … × ≥ ≤ − > < | ~ ^ \\ * [1]"
    text = table([make(status="failed", reason=reason)], format="latex")

    assert text.isascii()
    assert r"a $\to$ b $\pm$ -- $^\dagger$ \ldots{} $\times$ $\geq$ $\leq$ $-$ \textgreater{}" in text
