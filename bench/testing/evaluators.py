"""Check an evaluator: it finds what is there and no more, repeatably, and looks at no test label."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.contracts.dataset import Images
from bench.contracts.evaluator import Evaluator, Features, Scores, Task
from bench.contracts.feature_spec import FeatureSpec
from bench.errors import UsageError
from bench.testing.checks import Check, Outcome, alike, class_checks, require, run
from bench.testing.evaluation_tasks import (
    CLASSES,
    EACH,
    bounds,
    change_odd_tests,
    darken_pixel,
    double_rows,
    draw_sample,
    drop_folds,
    make_rare,
    relabel_test,
    rename_classes,
    scale_features,
    scale_rows,
    share_right,
    sort_test,
    sort_train,
    take_test,
)
from bench.testing.evaluator_subject import (
    REQUIREMENTS,
    Subject,
    Vary,
    is_met,
    require_shares,
    require_valid,
)
from bench.testing.process_state import ProcessState, seeded
from bench.testing.scores import (
    differing,
    require_numbers,
    require_percent,
    require_predictions,
    require_protocol,
)

ROUNDED = 0.01  # share of predictions that may differ where only rounding does
LOST = 0.4  # times as often as else, below which a class is not known any more
FEW = 23  # test images
BY_COSINE = re.compile(r"\bby (the )?cosine\b|\bcosine[ -](similarit|distance|neighbou?r|metric|vote)")
SCHEDULE = re.compile(r"\b(schedule|decay|anneal|learning|rates?\b|lr\b|warm|ramp)")  # may be a cosine, too
OF_ROWS = re.compile(r"similarity|distance|metric|neighbou?r|vote")  # in a protocol: how they are compared


def outcomes(cls: type[Evaluator], name: str, config: Any = None) -> Iterator[Outcome]:
    """Yield every check of an evaluator with its error, or none."""
    yield from run(class_checks(cls, Evaluator, name))
    built: list[Evaluator] = []

    def build() -> None:
        built.append(cls(cls.Config() if config is None else config))

    yield from run([("it builds", build)])
    if built:
        yield from run(_checks(Subject(built[0])))
        yield from run(
            [("check() refuses a single example, or it is evaluated", lambda: _one_each(Subject(built[0])))]
        )


def _checks(s: Subject) -> Iterator[Check]:
    """Yield the checks; each makes tasks of its own, which an earlier one cannot have changed."""
    count = EACH * len(CLASSES)
    yield "needs is `features` or `backbone`", lambda: _needs(s)
    yield "features() returns a FeatureSpec", lambda: _spec(s)
    yield "uses() returns evaluators by name", lambda: _uses(s)
    yield f"check() accepts {count} examples", lambda: s.evaluator.check(count, len(CLASSES))
    yield "it evaluates a task", lambda: require(bool(s.base), "")
    if "base" not in vars(s):
        return  # what follows compares with its scores
    for require_it, title in REQUIREMENTS.items():
        yield title, partial(require_it, *s.base, None)
    yield "it is no more often right than images tell", lambda: _not_too_good(*s.base)
    yield "what it is given is left as it is", lambda: _leaves(s)
    if s.with_network and s.base[1].protocol.get("features", "frozen") == "frozen":
        yield "the backbone is frozen, as protocol says", lambda: _frozen(s)
    yield "switches of the process are left as they are", lambda: _leaves_process(s)
    yield "the same seed gives the same scores", lambda: _repeats(s)
    yield "draws_subsets says whether it calls task.subset()", lambda: _subsets(s)
    if s.with_network:
        yield "features alone are refused in one line", lambda: _refuses(s)
    if not s.evaluator.uses_labels:
        yield "data without any label are evaluated", lambda: _unlabelled(s)
    if s.repeats:
        yield from _comparisons(s)
    if s.base[1].predictions is not None:
        yield from _robustness(s)


def _comparisons(s: Subject) -> Iterator[Check]:
    """Yield the checks that compare scores with those of a changed sample."""
    yield "nothing is kept from one call to the next", lambda: _forgets(s)
    if s.base[1].predictions is None or require_valid not in s.met:
        return
    yield "test labels change no prediction, and scores are of them", lambda: _blind(s)
    yield "no test example changes the prediction of another", lambda: _apart(s)
    if s.row_by_row:
        yield "predictions follow the rows of the test images", lambda: _follows_test(s)
        yield f"{FEW} test images of two classes are predicted as among the others", lambda: _few(s)
    yield "labelled images may come class by class", lambda: _sorted(s)
    if not s.with_network and _goes_by_cosine(s):
        yield "by cosine, the length of a feature does not count", lambda: _cosine(s)


def _robustness(s: Subject) -> Iterator[Check]:
    """Yield the checks on samples that code of papers breaks on."""
    yield "there may be nothing to choose on", lambda: _robust(s, drop_folds)
    yield "a class may be rare", partial(_robust, s, make_rare)
    yield "images may be there twice, and in train and test", partial(_robust, s, double_rows)
    yield "a feature may be constant", partial(_robust, s, darken_pixel)
    if s.base[1].protocol.get("features", "frozen") == "frozen":
        yield "features may be large, and away from zero", partial(_robust, s, scale_features)


def _needs(s: Subject) -> None:
    require(s.evaluator.needs in ("features", "backbone"), f"it is {s.evaluator.needs!r}")


def _spec(s: Subject) -> None:
    spec = s.evaluator.features(s.evaluator.config)
    require(isinstance(spec, FeatureSpec), f"it returned {type(spec).__name__}")


def _uses(s: Subject) -> None:
    used = s.evaluator.uses(s.evaluator.config)
    require(isinstance(used, Mapping), f"it returned {type(used).__name__}")
    others = [name for name, value in used.items() if not isinstance(value, Evaluator)]
    require(not others, f"{', '.join(others)}: return the evaluators themselves, as they are fitted")


def _not_too_good(task: Task, scores: Scores) -> None:
    if scores.predictions is not None and is_met(require_valid, task, scores):
        right, most = share_right(scores.predictions.cpu(), task.test.y), bounds()[1]
        require(right <= most, f"{right:g} percent are right, {most:g} can be: test labels were seen")


def _leaves(s: Subject) -> None:
    changed = ", ".join(s.changed[:3])
    require(
        not s.changed,
        f"{changed} changed; work on a copy (network.backbone() is one, in eval mode) and on own labels",
    )


def _frozen(s: Subject) -> None:
    changed = ", ".join(s.trained[:3])
    require(
        not s.trained,
        f"{changed} changed in its copy: freeze it by requires_grad_(False) and eval(), or say fine-tuned",
    )


def _leaves_process(s: Subject) -> None:
    require(not s.switched, f"{', '.join(s.switched)} changed; put back what you switch")


def _repeats(s: Subject) -> None:
    with seeded(2):
        other, process = s.evaluate(s.task()), ProcessState()
    one, advice = s.base[1], "draw from torch.Generator().manual_seed(seed_of(task.seed, ...))"
    require(
        dict(one.metrics) == dict(other.metrics), f"{dict(one.metrics)}, then {dict(other.metrics)}; {advice}"
    )
    require(not differing(one.predictions, other.predictions), f"predictions differ; {advice}")
    s.repeats = True
    shared = " and ".join(s.process.list_seeded(process))
    require(
        not shared,
        f"it seeds {shared} random numbers, which all share; {advice}, or in torch.random.fork_rng()",
    )


def _forgets(s: Subject) -> None:
    """A second task of a run: classes have other names, and `shared` is what the first one left in it."""
    with seeded(1):
        after = s.evaluate(s.task(rename_classes, s.shared))
        alone = s.evaluate(s.task(rename_classes))
    where = "a class, a module or task.shared, under a name that does not say which task it is of"
    same = not differing(after.predictions, alone.predictions) and dict(after.metrics) == dict(alone.metrics)
    require(same, f"after another task its scores are others; something is kept in {where}")
    before = s.base[1].predictions
    if before is not None and alone.predictions is not None:
        stale = differing(before, alone.predictions) < len(before) // 2
        require(not stale, f"every label was renamed, but predictions were not; something is kept in {where}")


def _subsets(s: Subject) -> None:
    calls: list[float] = []

    class Watched(Task):
        def subset(self, fraction: float, seed: int) -> Task:
            calls.append(fraction)
            return Task.subset(self, fraction, seed)

    if not s.evaluator.draws_subsets:
        s.evaluate(Watched(**vars(s.task())))
    require(not calls, "it calls it: set draws_subsets = True, so that groups of images are in its key")


def _refuses(s: Subject) -> None:
    try:
        s.evaluate(s.sample.task())
    except UsageError:
        return
    require(False, "it was evaluated; ask for task.needed_network(name)")  # noqa: FBT003


def _unlabelled(s: Subject) -> None:
    task = s.task(lambda sample: sample.take(torch.arange(0)))
    unknown = torch.full_like(task.test.y, -1)
    task = replace(task, test=Features(task.test.x, unknown), folds=(), classes=())
    if task.network is not None:
        test = Images(task.network.test.pixels, unknown)
        task = replace(task, network=replace(task.network, test=test))
    require_numbers(s.evaluate(task))


def _blind(s: Subject) -> None:
    _, one = s.base
    given = s.task(relabel_test)
    with seeded(1):
        other = s.evaluate(s.task(relabel_test))
    require(not differing(one.predictions, other.predictions), "they do: choose on task.folds")
    require(
        _alike_confidence(one, other),
        "they change confidences, as a temperature that is chosen on them does: choose on task.folds",
    )
    same = [
        name for name in ("top1", "balanced_accuracy") if one.metrics.get(name) == other.metrics.get(name, -1)
    ]
    require(
        not same,
        f"every test label is another one, and {', '.join(same)} is the same: count against task.test.y",
    )
    if require_shares in s.met:
        require_percent(other, given)


def _apart(s: Subject) -> None:
    usual, changed = s.base[1], s.evaluate(s.task(change_odd_tests))
    one, other = usual.predictions, changed.predictions
    assert one is not None  # noqa: S101 - asked before
    even = torch.arange(len(one)) % 2 == 0
    same = other is not None and torch.equal(one.cpu()[even], other.cpu()[even])
    require(same, "it does: fit on task.train alone, and have norms in eval mode")
    require(
        _alike_confidence(usual, changed, even),
        "it changes its confidence: fit on task.train alone, temperatures and means too",
    )
    s.row_by_row = True


def _alike_confidence(one: Scores, other: Scores, rows: Tensor | None = None) -> bool:
    """Tell whether confidences are alike, of some rows or of all; where there are none they are."""
    if one.confidence is None or other.confidence is None:
        return one.confidence is other.confidence
    first, second = one.confidence.cpu(), other.confidence.cpu()
    return alike(first, second) if rows is None else alike(first[rows], second[rows])


def _follows_test(s: Subject) -> None:
    order = s.sample.test.labels.argsort(stable=True)
    sorted_scores = s.evaluate_varied(sort_test)
    _require_few(s.base[1].predictions, sorted_scores.predictions, order, "with test rows in another order")


def _few(s: Subject) -> None:
    rows = torch.where(s.sample.test.labels > 0)[0][:FEW]
    scores = s.evaluate_varied(lambda sample: take_test(sample, rows))
    _require_few(s.base[1].predictions, scores.predictions, rows, "alone")


def _require_few(every: Tensor | None, some: Tensor | None, rows: Tensor, when: str) -> None:
    assert every is not None  # noqa: S101 - asked before
    count = differing(every.cpu()[rows], some)
    require(
        count <= max(1, ROUNDED * len(rows)),
        f"{count} of {len(rows)} are others {when}: a prediction is of its own row and of task.train alone, "
        "and there are len(task.classes) classes, whichever are in test",
    )


def _sorted(s: Subject) -> None:
    """A training takes rows in another order then, and ends elsewhere: but it knows the same classes."""
    predictions = s.base[1].predictions, s.evaluate_varied(sort_train).predictions
    known = [part.cpu() for part in predictions if part is not None]
    require(len(known) == len(predictions), "there are no predictions then")
    usual, found = (part.bincount(minlength=len(CLASSES)) for part in known)
    lost = [name for name, one, other in zip(CLASSES, usual, found, strict=True) if other < LOST * one]
    require(
        not lost,
        f"then hardly any image is taken for {', '.join(lost)}: shuffle the rows, and take none by place",
    )


def _robust(s: Subject, vary: Vary) -> None:
    s.evaluate_varied(vary)


def _goes_by_cosine(s: Subject) -> bool:
    """Tell whether the evaluator says that it compares rows by cosine: a schedule may be one, too."""
    protocol = s.base[1].protocol.items()
    named = any(OF_ROWS.search(name.lower()) and "cosine" in str(value).lower() for name, value in protocol)
    sentences = re.split(r"[.;:]\s", (type(s.evaluator).__doc__ or "").lower())
    return named or any(BY_COSINE.search(said) and not SCHEDULE.search(said) for said in sentences)


def _cosine(s: Subject) -> None:
    base = s.base[1].predictions
    assert base is not None  # noqa: S101 - asked before
    moved = {}
    for part in ("train", "test"):
        with seeded(1):
            moved[part] = differing(base, s.evaluate(scale_rows(s.task(), part)).predictions)
    most = ROUNDED * len(base)
    require(
        moved["train"] <= most,
        f"{moved['train']} predictions change with the length of training features: it is no cosine "
        "(a Euclidean distance?); bring both to length one, as unit_rows does",
    )
    require(
        moved["test"] <= most,
        f"{moved['test']} predictions change with the length of test features: the queries are not "
        "normalised; bring them to length one, as unit_rows does",
    )


def _one_each(s: Subject) -> None:
    """One example a class leaves nothing to choose on: a refusal or a prediction, never a crash."""
    sample = draw_sample(each=1, test=1)
    task = sample.task(with_network=s.with_network)
    try:
        s.evaluator.check(len(task.train), len(task.classes))
        scores = s.evaluate(task)
    except UsageError:
        return
    require_predictions(scores, task)
    require_protocol(scores, task)
