"""Rank methods over data sets, and say in words what so many data sets support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from bench.reporting.blocks import Block, Entrant
from bench.reporting.scales import Scales, find_scales
from bench.statistics.aggregates import (
    Array,
    Interval,
    bootstrap,
    interquartile_mean,
    normalise,
    performance_profile,
    probability_of_improvement,
)
from bench.statistics.multiple import adjust_by_holm
from bench.statistics.parts import LEVEL
from bench.statistics.ranks import (
    Friedman,
    average_ranks,
    datasets_needed,
    friedman,
    join_alike,
    least_wilcoxon_p,
    nemenyi_difference,
    wilcoxon,
)

THRESHOLDS = 41  # of a profile, our choice


@dataclass(frozen=True)
class Pair:
    """Two entrants, the better ranked first.

    Args:
        better: the place of the one among the ranked entrants.
        worse: the place of the other.
        p: of Wilcoxon's test over data sets.
        adjusted: `p` by Holm among all pairs.
        improvement: how probably a run of the better ranked is better than one of the other.
        interval: of `improvement` over seeds; none where a data set has one seed.
    """

    better: int
    worse: int
    p: float
    adjusted: float
    improvement: float
    interval: Interval | None

    @property
    def is_told_apart(self) -> bool:
        """Whether the difference is significant."""
        return self.adjusted <= LEVEL


@dataclass(frozen=True)
class Aggregate:
    """What an entrant scores between the references, over all data sets that have them.

    Args:
        mean: the interquartile mean.
        interval: of `mean` over seeds; none where a data set has one seed.
        profile: (t,), the share of its runs above each of `Ranking.thresholds`.
        band: of `profile`, as `interval`.
    """

    mean: float
    interval: Interval | None
    profile: Array
    band: Interval | None


@dataclass(frozen=True)
class Ranking:
    """Entrants in the order of their average rank over data sets.

    Args:
        block: what is ranked.
        entrants: the best first.
        ranks: their average ranks.
        friedman: the test that any ranks otherwise than by chance; none of two entrants.
        critical_difference: of average ranks, by Nemenyi's test.
        pairs: of all entrants.
        scaled: the data sets that the aggregates are over.
        thresholds: (t,), normalised scores.
        aggregates: of each entrant; empty where there is no scale.
        remarks: what must be known to read it, a sentence each, without the full stop.
    """

    block: Block
    entrants: tuple[Entrant, ...]
    ranks: tuple[float, ...]
    friedman: Friedman | None
    critical_difference: float
    pairs: tuple[Pair, ...]
    scaled: tuple[str, ...]
    thresholds: Array
    aggregates: tuple[Aggregate, ...]
    remarks: tuple[str, ...]

    @cached_property
    def alike(self) -> list[tuple[int, int]]:
        """The stretches of entrants of which no two are told apart."""
        apart = {(pair.better, pair.worse) for pair in self.pairs if pair.is_told_apart}
        return join_alike(len(self.entrants), apart)


def why_not(block: Block) -> str:
    """Return why a block cannot be ranked; nothing where it can."""
    lacking = []
    if len(block.entrants) < 2:
        lacking.append(f"there is {_count(len(block.entrants), 'method')} to rank, and it takes two")
    if len(block.datasets) < 2:
        lacking.append(
            f"there is {_count(len(block.datasets), 'data set')} with all scores, and it takes two"
        )
    if not lacking:
        return ""
    return f"{block.question}: {' and '.join(lacking)}" + "".join(f". {left}" for left in block.left_out)


def rank_all(
    blocks: Sequence[Block], references: tuple[str, str] | None = None
) -> tuple[list[Ranking], list[str]]:
    """Return the rankings of the blocks that can be ranked, and why the others cannot.

    Args:
        blocks: complete.
        references: as of `rank`.
    """
    reasons = [why_not(block) for block in blocks]
    rankings = [rank(block, references) for block, reason in zip(blocks, reasons, strict=True) if not reason]
    return rankings, [reason for reason in reasons if reason]


def rank(block: Block, references: tuple[str, str] | None = None) -> Ranking:
    """Rank the entrants of a block, at least two on at least two data sets.

    Args:
        block: complete.
        references: the methods at which a normalised score is 0 and 1; none where nothing is normalised.
    """
    sign = 1 if block.higher_is_better else -1
    means = np.array([[sign * np.mean(block.runs[one, d]) for d in block.datasets] for one in block.entrants])
    ranks = average_ranks(means)
    order = np.argsort(ranks, kind="stable")
    entrants, means = tuple(block.entrants[place] for place in order), means[order]
    scales, unscaled = find_scales(block, entrants, references)
    thresholds, aggregates = _aggregate(block, entrants, scales)
    pairs = _compare_pairs(block, entrants, means, sign)
    difference = nemenyi_difference(len(entrants), len(block.datasets))
    return Ranking(
        block=block,
        entrants=entrants,
        ranks=tuple(float(value) for value in ranks[order]),
        friedman=friedman(means) if len(entrants) > 2 else None,
        critical_difference=difference,
        pairs=pairs,
        scaled=tuple(scales),
        thresholds=thresholds,
        aggregates=aggregates,
        remarks=(*block.left_out, *_say_what_is_supported(block, len(pairs), difference), *unscaled,
                 *_say_what_seeds_allow(block)),
    )  # fmt: skip


def _compare_pairs(block: Block, entrants: Sequence[Entrant], means: Array, sign: int) -> tuple[Pair, ...]:
    places = list(combinations(range(len(entrants)), 2))
    p_values = [wilcoxon(means[i] - means[j]) for i, j in places]
    runs = [[sign * np.array(block.runs[one, d]) for d in block.datasets] for one in entrants]
    return tuple(
        Pair(i, j, p, adjusted, float(probability_of_improvement(runs[i], runs[j])),
             bootstrap(probability_of_improvement, runs[i], runs[j]))
        for (i, j), p, adjusted in zip(places, p_values, adjust_by_holm(p_values), strict=True)
    )  # fmt: skip


def _aggregate(
    block: Block, entrants: Sequence[Entrant], scales: Scales
) -> tuple[Array, tuple[Aggregate, ...]]:
    """Return the thresholds of the profiles, and what each entrant scores over the data sets with a scale."""
    if not scales:
        return np.zeros(0), ()
    normalised = [
        [normalise(np.array(block.runs[one, name]), *scales[name][one]) for name in scales]
        for one in entrants
    ]
    everything = np.concatenate([own for runs in normalised for own in runs])
    thresholds = np.linspace(min(0.0, everything.min()), max(1.0, everything.max()), THRESHOLDS)

    def profile(runs: Sequence[Array]) -> Array:
        return performance_profile(runs, thresholds)

    aggregates = tuple(
        Aggregate(
            mean=float(interquartile_mean(runs)),
            interval=bootstrap(interquartile_mean, runs),
            profile=profile(runs),
            band=bootstrap(profile, runs),
        )
        for runs in normalised
    )
    return thresholds, aggregates


def _say_what_is_supported(block: Block, pairs: int, difference: float) -> list[str]:
    """Return what so many data sets can tell apart at all."""
    count, most = len(block.datasets), len(block.entrants) - 1
    needed, least = datasets_needed(pairs), least_wilcoxon_p(count)
    remarks = []
    if count < needed:
        of_holm = f", and Holm asks {LEVEL / pairs:.2g} of {pairs} pairs" if pairs > 1 else ""
        remarks.append(
            f"{_count(count, 'data set')} cannot tell any two methods apart: the least p that Wilcoxon's "
            f"test can have is {least:.2g}{of_holm}. It takes {needed} data sets at least"
        )
    scale = f"Average ranks go from 1 to {most + 1}; by Nemenyi's test two that differ by less than "
    scale += f"{difference:.2f} are not told apart"
    remarks.append(scale + (", so that none are" if difference > most else ""))
    if block.repeats:
        remarks.append(
            "A data set is evaluated on after training on each of several: such scores are not independent, "
            "and p is too small"
        )
    return remarks


def _say_what_seeds_allow(block: Block) -> list[str]:
    """Return what the numbers of seeds mean for intervals."""
    counts = {len(values) for values in block.runs.values()}
    if min(counts) < 2:
        single = "Each score is" if counts == {1} else "Some scores are"
        return [f"{single} of one seed: no interval over seeds where there is one"]
    if min(counts) < 5:
        return [f"Intervals are over {min(counts)} seeds where there are fewest, which makes them too narrow"]
    return []


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}" if number < 2 else f"{number} {noun}s"
