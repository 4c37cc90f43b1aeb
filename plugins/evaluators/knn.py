"""Classify by the nearest training features: a readout without anything to train.

Wu 2018, "Unsupervised feature learning via non-parametric instance discrimination",
https://arxiv.org/abs/1805.01978, section 3.4. Code followed: facebookresearch/dino eval_knn.py.

    score_c(x) = sum over the k nearest i of exp(cos(x, x_i) / T) [y_i = c]

Differs from the paper: k and T are DINO's (20 and 0.07; the paper: 200 and 0.07).
Differs from the code: the bank is the clean training images, all of them; of equally near
neighbours the earlier is taken; a class without a vote is never among the first five.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.api import (
    BadValue,
    Evaluator,
    FeatureSettings,
    FeatureSpec,
    Scores,
    Task,
    classification_scores,
    nearest,
    refuse_not_finite,
    setting,
    unit_rows,
    votes,
)

DEFAULT_K = 20  # DINO, eval_knn.py: "20 is usually working the best"


class KNN(Evaluator):
    """Weighted k-nearest-neighbour vote by cosine similarity."""

    version: ClassVar[int] = 2
    reference: ClassVar[str] = "Wu 2018, https://arxiv.org/abs/1805.01978"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureSettings):
        """What changes the vote."""

        k: int | None = setting(
            None, "neighbours; none is 20, or all where there are fewer", source="DINO, eval_knn.py", least=1
        )
        temperature: float = setting(0.07, "of the vote's weights", source="Wu 2018, section 3.4", above=0)

    config: Config

    @classmethod
    def features(cls, config: Config) -> FeatureSpec:
        """Return the features that the settings ask for."""
        return config.spec

    def check(self, labelled: int, classes: int) -> None:
        """Refuse more neighbours than there are."""
        k = self.config.k
        if k is not None and k > labelled:
            raise BadValue(
                f"knn: k is {k}, but there are {labelled} training features. Set knn.k to at most {labelled}."
            )

    def evaluate(self, task: Task) -> Scores:
        """Let the training rows vote on the test rows."""
        self.check(len(task.train), len(task.classes))
        refuse_not_finite("knn", task)
        k = self.config.k or min(DEFAULT_K, len(task.train))
        bank = unit_rows(task.train.x, task.device)
        queries = unit_rows(task.test.x, task.device)
        near, index = nearest(queries, bank, k)
        labels = task.train.y.to(task.device)[index]
        scores = votes(near, labels, len(task.classes), self.config.temperature).cpu()
        metrics, per_class = classification_scores(scores, task.test.y.cpu(), probabilities=False)
        return Scores(
            metrics=metrics,
            predictions=scores.argmax(1),
            per_class=per_class,
            protocol={
                "features": "frozen",
                **self.config.spec.describe(),
                "selected": "nothing",
                "selected_split": "nothing",
                "similarity": "cosine",
                "bank": len(task.train),
                "k": k,
                "temperature": self.config.temperature,
            },
        )
