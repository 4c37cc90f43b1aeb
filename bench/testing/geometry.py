"""What a loss of joint embeddings says of embeddings that are made: collapse is no better than spread."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.testing.checks import require, skip
from bench.testing.subject import CLASSES, Subject

ROWS = 64  # of made embeddings, at least
UNIT = 1e-3  # of a length: rows are of length 1
MARGIN = 1e-3  # of a loss: less is no difference
ROUNDING = 1e-5  # of a loss that is a mean of the losses of images


@dataclass(frozen=True)
class Losses:
    """The loss of made embeddings, in which all embeddings of an image are alike.

    Args:
        spread: of images that point anywhere.
        rank_one: of images that all point into one direction.
        wrong: of spread ones, of which the named one is of another image.
        halves: of each half of spread ones; their mean is that of all where images are not compared.
    """

    spread: float
    rank_one: float
    wrong: dict[str, float]
    halves: tuple[float, float]

    @property
    def margin(self) -> float:
        """What is no more than rounding."""
        return MARGIN * max(1.0, abs(self.spread))

    @property
    def is_of_each(self) -> bool:
        """Whether the loss of an image does not depend on the other images of the batch."""
        return abs(sum(self.halves) / 2 - self.spread) <= ROUNDING * max(abs(self.spread), MARGIN)


def compare_losses(subject: Subject) -> Losses:
    """Return the losses of a method whose embeddings are joint, or leave the check out."""
    embedded = subject.embedded(subject.method)
    given = {name: z.detach() for name, z in embedded.items()}
    _skip_others(subject, given)
    spread = _fill(subject, given, collapsed=False)
    rank_one = _fill(subject, given, collapsed=True)
    moving = [name for name, z in embedded.items() if z.requires_grad]
    if not moving:
        skip("no embedding has a gradient, as an earlier check has it")
    wrong = {name: {**spread, name: spread[name].roll(1, 0)} for name in moving}
    rows = len(spread[moving[0]])
    first, second = (
        _loss(subject, spread, spread, part) for part in (slice(0, rows // 2), slice(rows // 2, rows))
    )
    return Losses(
        _loss(subject, spread, spread),
        _loss(subject, rank_one, rank_one),
        {name: _loss(subject, embeddings, spread) for name, embeddings in wrong.items()},
        (first, second),
    )


def require_spread_is_better(losses: Losses) -> None:
    """Require that the loss does not fall where all embeddings collapse onto a line."""
    better = losses.rank_one < losses.spread - losses.margin
    if better and losses.is_of_each:
        skip("no term compares images with one another: what keeps it from collapse is elsewhere")
    require(
        not better,
        f"it is {losses.spread:.4g} where images differ, and {losses.rank_one:.4g} where all lie on a line: "
        "minimised, it collapses. Is the sign of a term wrong?",
    )


def require_partners_matter(losses: Losses) -> None:
    """Require that the loss rises where two views are not of one image."""
    rises = any(value > losses.spread + losses.margin or math.isnan(value) for value in losses.wrong.values())
    lowest = min(losses.wrong.values())
    falls = f"falls from {losses.spread:.4g} to {lowest:.4g}: is the sign of a term wrong?"
    stays = f"stays at {losses.spread:.4g}: are two embeddings of one view compared?"
    found = falls if lowest < losses.spread - losses.margin else stays
    require(rises, f"with the embeddings of one view dealt out to other images, it {found}")


def _skip_others(subject: Subject, given: Embeddings) -> None:
    """Leave the check out where embeddings are not joint ones of several views."""
    if subject.cls.uses_labels:
        skip("it is trained with labels: images of one class may be alike")
    if len(subject.views) < 2:
        skip("it has one view, so no two embeddings of an image are to agree")
    if not all(z.is_floating_point() and z[0].numel() > 1 for z in given.values()):
        skip("not all that embed() returns are vectors")
    shapes = [z.shape[1:] for z in given.values()]
    if len(set(shapes)) == len(shapes):
        skip("no two embeddings have one shape, so none are to agree")


def _fill(subject: Subject, given: Embeddings, *, collapsed: bool) -> Embeddings:
    """Return embeddings in the shapes and lengths of given ones; those of one shape are alike."""
    rows = 2 * subject.count * math.ceil(ROWS / (2 * subject.count))  # halves are batches, too
    made = {}
    for name, z in given.items():
        drawn = torch.Generator().manual_seed(0)
        lengths = z.norm(dim=-1)
        if collapsed:
            scale = torch.randn(rows, *[1] * (z.ndim - 1), generator=drawn)  # columns vary as spread ones do
            x = scale * torch.randn(1, *z.shape[1:], generator=drawn)
        else:
            x = torch.randn(rows, *z.shape[1:], generator=drawn)
        is_unit = bool(((lengths - 1).abs() < UNIT).all())
        made[name] = F.normalize(x, dim=-1) if is_unit else x
    return made


def _loss(
    subject: Subject, embeddings: Embeddings, remembered: Embeddings, part: slice = slice(None)
) -> float:
    """Return the loss of embeddings, or of a part of them, by a method that has seen a batch of others."""
    method = subject.build()
    rows = len(next(iter(embeddings.values())))
    index = torch.arange(rows)
    batch = Batch(index, index % len(CLASSES), subject.draws(method, rows))
    with torch.no_grad():
        if type(method).first_pass is not Method.first_pass:
            method.first_pass(remembered, batch)
        method.before_step(Step())
        method.after_batch(remembered, batch)
    torch.manual_seed(0)
    given = {name: z[part].clone().requires_grad_() for name, z in embeddings.items()}
    some = batch.rows(part)
    own = Batch(some.index, some.labels, subject.draws(method, len(some.index)))
    terms = method.terms(given, own)
    return float(torch.stack([term.detach() for term in terms.values()]).sum())
