"""The conformance kit finds what an evaluator does wrong, and says what it is."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor, nn

from bench.api import (
    BadValue,
    Evaluator,
    Features,
    Scores,
    Task,
    View,
    classification_scores,
    describe_choice,
    describe_no_choice,
    score_logits,
    seed_of,
    unit_rows,
)
from bench.registry.registry import Registry
from bench.testing import check, check_evaluator

NOTHING = {"selected": "nothing", "selected_split": "nothing"}
Needs = Literal["features", "backbone"]


def failures(cls: type[Evaluator]) -> dict[str, str]:
    return {title: error for title, error in check("evaluators", cls, "it") if error is not None}


def share(predictions: Tensor, labels: Tensor) -> float:
    return 100 * float((predictions == labels).double().mean())


def scores_of(predictions: Tensor, task: Task, **protocol: Any) -> Scores:
    return Scores(
        metrics={"top1": share(predictions, task.test.y)},
        predictions=predictions,
        protocol={**NOTHING, **protocol},
    )


def votes(alike: Tensor, y: Tensor, k: int, classes: int) -> Tensor:
    """Return the class that most of the k most alike rows have."""
    near = alike.topk(k, dim=1).indices
    return F.one_hot(y[near], classes).sum(1).argmax(1)


class Neighbours(Evaluator):
    """Let the five nearest by cosine vote."""

    k = 5

    def alike(self, task: Task) -> Tensor:
        return unit_rows(task.test.x) @ unit_rows(task.train.x).T

    def predict(self, task: Task) -> Tensor:
        return votes(self.alike(task), task.train.y, self.k, len(task.classes))

    def check(self, labelled: int, classes: int) -> None:
        if labelled < self.k:
            raise BadValue(f"neighbours: there are {labelled} of {self.k} neighbours. Use more labels.")

    def evaluate(self, task: Task) -> Scores:
        return scores_of(self.predict(task), task)


# ---- right ones, which are not like the built-in ones


class Chosen(Neighbours):
    """Choose the number of neighbours on the folds."""

    def evaluate(self, task: Task) -> Scores:
        if not task.folds:
            return replace(super().evaluate(task), protocol=describe_no_choice(task, 3))
        fit, held_out = task.folds[0]
        part = replace(task, train=task.train.take(fit), test=task.train.take(held_out))
        alike, labels = self.alike(part), part.test.y
        right = {k: share(votes(alike, part.train.y, k, 3), labels) for k in (1, 5, 15)}
        k = max(right, key=right.__getitem__)
        predictions = votes(self.alike(task), task.train.y, k, 3)
        return replace(scores_of(predictions, task), protocol={"selected": "k", **describe_choice(task)})


class Discriminant(Evaluator):
    """Fit Gaussians with a library, in float64, and give probabilities."""

    def check(self, labelled: int, classes: int) -> None:
        if labelled <= classes:
            raise BadValue(f"discriminant: {labelled} labels have no covariance. Use more.")

    def evaluate(self, task: Task) -> Scores:
        model = LinearDiscriminantAnalysis().fit(task.train.x.double().numpy(), task.train.y.numpy())
        logits = torch.from_numpy(model.predict_log_proba(task.test.x.double().numpy()))
        return score_logits(logits.float(), task, NOTHING)


class Normed(Evaluator):
    """Train a linear layer behind a batch norm, on batches in a drawn order."""

    def evaluate(self, task: Task) -> Scores:
        x, y = task.train.x, task.train.y
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(task.seed, "normed"))
            head = nn.Sequential(nn.BatchNorm1d(x.shape[1], affine=False), nn.Linear(x.shape[1], 3))
            optimizer = torch.optim.SGD(head.parameters(), lr=0.5, momentum=0.9)
            for _ in range(8):
                for rows in torch.randperm(len(y)).split(64):
                    optimizer.zero_grad()
                    F.cross_entropy(head(x[rows]), y[rows]).backward()
                    optimizer.step()
        x.zero_()
        with torch.no_grad():
            return score_logits(head.eval()(task.test.x), task, NOTHING)


class Halving(Neighbours):
    """Look at a half of the labels as well, and say so."""

    draws_subsets: ClassVar[bool] = True

    def check(self, labelled: int, classes: int) -> None:
        if labelled < 2 * max(classes, self.k):
            raise BadValue(f"halving: {labelled} labels have no half.")

    def predict(self, task: Task) -> Tensor:
        return super().predict(task.subset(0.5, 0))


class Information(Evaluator):
    """Measure what the sign of a feature tells of the class, without predicting any."""

    def evaluate(self, task: Task) -> Scores:
        signs = (task.test.x[:, :8] > task.test.x[:, :8].mean()).int() @ (2 ** torch.arange(8)).int()
        told = normalized_mutual_info_score(task.test.y.numpy(), signs.numpy())
        return Scores(metrics={"information": told}, protocol=NOTHING)


class Blind(Evaluator):
    """Measure the spread of features, of data without labels as well."""

    uses_labels: ClassVar[bool] = False

    def evaluate(self, task: Task) -> Scores:
        return Scores(metrics={"spread": float(task.test.x.std())}, protocol=NOTHING)


class Measuring(Evaluator):
    """Measure without predicting, on a copy of the backbone."""

    needs: ClassVar[Needs] = "backbone"

    def evaluate(self, task: Task) -> Scores:
        network = task.needed_network("measuring")
        with torch.inference_mode():
            found = network.backbone()(network.clean(network.test.pixels))
        return Scores(metrics={"norm": float(found.norm())}, protocol=NOTHING)


class Tuned(Evaluator):
    """Train a copy of the backbone, with its batch norm in training mode."""

    needs: ClassVar[Needs] = "backbone"

    def evaluate(self, task: Task) -> Scores:
        network = task.needed_network("tuned")
        model = nn.Sequential(network.backbone(), nn.Linear(16, 3))
        nn.init.zeros_(model[1].weight)
        nn.init.zeros_(model[1].bias)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        images, labels = network.clean(network.train.pixels), network.train.labels
        for _ in range(40):
            optimizer.zero_grad()
            F.cross_entropy(model.train()(images[:300]), labels[:300]).backward()
            optimizer.step()
        with torch.no_grad():
            logits = model.eval()(network.clean(network.test.pixels))
        return score_logits(logits, task, {**NOTHING, "features": "fine-tuned"})


class Annealed(Normed):
    """Train a linear layer behind a batch norm, at a rate that falls along a cosine, or by cosine.

    Where a paper has a cosine learning rate, so has this.
    """

    def evaluate(self, task: Task) -> Scores:
        scores = super().evaluate(task)
        return replace(scores, protocol={**scores.protocol, "schedule": "cosine"})


RIGHT = [Neighbours, Chosen, Discriminant, Normed, Information, Blind, Measuring, Tuned, Halving, Annealed]


@pytest.mark.parametrize("cls", RIGHT)
def test_a_right_evaluator_passes(cls: type[Evaluator]) -> None:
    check_evaluator(cls, "right")


# ---- wrong ones


class Euclidean(Neighbours):
    """Let the nearest by cosine similarity vote, as it says."""

    def alike(self, task: Task) -> Tensor:
        return -torch.cdist(task.test.x, task.train.x)


class Unnormalised(Neighbours):
    """Weigh the neighbours by cosine, of queries of any length."""

    def predict(self, task: Task) -> Tensor:
        near, index = (task.test.x @ unit_rows(task.train.x).T).topk(20, dim=1)
        weights = ((near - near.amax(1, keepdim=True)) / 0.5).exp()
        return torch.zeros(len(near), 3).scatter_add_(1, task.train.y[index], weights).argmax(1)


class Said(Unnormalised):
    """Weigh the neighbours."""

    def evaluate(self, task: Task) -> Scores:
        return scores_of(self.predict(task), task, similarity="cosine")


class SelectedOnTest(Neighbours):
    """Report the number of neighbours that is best on test."""

    def predict(self, task: Task) -> Tensor:
        alike = self.alike(task)
        return max(
            (votes(alike, task.train.y, k, 3) for k in (1, 3, 5, 15, 40)), key=lambda p: share(p, task.test.y)
        )


class BestEpoch(Neighbours):
    """Report the best top-1 on the way, and the last predictions."""

    def evaluate(self, task: Task) -> Scores:
        every = [votes(self.alike(task), task.train.y, k, 3) for k in (40, 15, 1)]
        best = max(share(p, task.test.y) for p in every)
        return replace(scores_of(every[-1], task), metrics={"top1": best})


class SeesTest(Neighbours):
    """Have the test rows among the neighbours."""

    k = 1

    def predict(self, task: Task) -> Tensor:
        both = Features(torch.cat([task.train.x, task.test.x]), torch.cat([task.train.y, task.test.y]))
        return super().predict(replace(task, train=both))


class Cheating(Evaluator):
    """Predict the test labels."""

    def evaluate(self, task: Task) -> Scores:
        return scores_of(task.test.y, task)


class TrainScore(Neighbours):
    """Report how many of the labelled rows are right."""

    def evaluate(self, task: Task) -> Scores:
        return replace(super().evaluate(task), metrics={"top1": share(task.train.y, task.train.y) * 0.8})


class Shuffled(Neighbours):
    """Predict the test rows in an order of its own, and count right in that."""

    def evaluate(self, task: Task) -> Scores:
        order = torch.randperm(len(task.test), generator=torch.Generator().manual_seed(0))
        predictions = self.predict(replace(task, test=task.test.take(order)))
        return replace(scores_of(predictions, task), metrics={"top1": share(predictions, task.test.y[order])})


class FromOne(Neighbours):
    """Count classes from one."""

    def predict(self, task: Task) -> Tensor:
        return super().predict(task) + 1


class Around(Neighbours):
    """Take each class for the next one."""

    def predict(self, task: Task) -> Tensor:
        return (super().predict(task) + 1) % 3


class Fraction(Neighbours):
    """Report a share of one."""

    def evaluate(self, task: Task) -> Scores:
        scores = super().evaluate(task)
        return replace(scores, metrics={"top1": scores.metrics["top1"] / 100})


class FractionOfOthers(Neighbours):
    """Report a share of one under another name."""

    def evaluate(self, task: Task) -> Scores:
        scores = super().evaluate(task)
        return replace(scores, metrics={**scores.metrics, "macro_f1": scores.metrics["top1"] / 100})


class FractionOfClasses(Neighbours):
    """Report the recall of classes as shares of one."""

    def evaluate(self, task: Task) -> Scores:
        one_hot = F.one_hot(self.predict(task), 3).float()
        metrics, per_class = classification_scores(one_hot, task.test.y, probabilities=False)
        recall = {"recall": [value / 100 for value in per_class["recall"]]}
        return replace(scores_of(one_hot.argmax(1), task), metrics=metrics, per_class=recall)


class Silent(Neighbours):
    """Say nothing of what was chosen."""

    def evaluate(self, task: Task) -> Scores:
        return replace(super().evaluate(task), protocol={"k": self.k})


class Half(Neighbours):
    """Say what was chosen, but not on what."""

    def evaluate(self, task: Task) -> Scores:
        return replace(super().evaluate(task), protocol={"selected": "k"})


class Folded(Chosen):
    """Take it for granted that there is a fold."""

    def evaluate(self, task: Task) -> Scores:
        task.folds[0]
        return super().evaluate(task)


class Claiming(Chosen):
    """Say that it chose where there was nothing to choose on."""

    def evaluate(self, task: Task) -> Scores:
        said = {"selected": "k", "selected_split": "val" if task.own_val else "train"}
        return replace(super().evaluate(task), protocol=said)


class OnTest(Neighbours):
    """Say that it chose on test."""

    def evaluate(self, task: Task) -> Scores:
        return replace(super().evaluate(task), protocol={"selected": "k", "selected_split": "test"})


class OnVal(Neighbours):
    """Say of any held-out rows that they are the data's own validation split."""

    def evaluate(self, task: Task) -> Scores:
        return replace(super().evaluate(task), protocol={"selected": "k", "selected_split": "val"})


class Projected(Neighbours):
    """Project features by random numbers that nobody seeded."""

    def draw(self, task: Task) -> Tensor:
        return torch.randn(task.train.x.shape[1], 12)

    def alike(self, task: Task) -> Tensor:
        matrix = self.draw(task)
        return -torch.cdist(task.test.x @ matrix, task.train.x @ matrix)


class NumpyProjected(Projected):
    """Project features by random numbers of numpy."""

    def draw(self, task: Task) -> Tensor:
        return torch.from_numpy(np.random.randn(task.train.x.shape[1], 12)).float()  # noqa: NPY002


class PythonProjected(Projected):
    """Project features by random numbers of Python."""

    def draw(self, task: Task) -> Tensor:
        rows = [[random.gauss(0, 1) for _ in range(12)] for _ in range(task.train.x.shape[1])]
        return torch.tensor(rows)


class Reseeding(Projected):
    """Seed the random numbers that all share."""

    def draw(self, task: Task) -> Tensor:
        torch.manual_seed(0)
        return super().draw(task)


class Switching(Neighbours):
    """Switch gradients off, for all that comes after it."""

    def predict(self, task: Task) -> Tensor:
        torch.set_grad_enabled(False)
        return super().predict(task)


class Remembering(Neighbours):
    """Fit once."""

    bank: ClassVar[list[Features]] = []

    def predict(self, task: Task) -> Tensor:
        if not self.bank:
            self.bank.append(task.train)
        return super().predict(replace(task, train=self.bank[0]))


class Sharing(Neighbours):
    """Fit once a run."""

    def predict(self, task: Task) -> Tensor:
        return super().predict(replace(task, train=task.shared.setdefault("neighbours", task.train)))


class Standardised(Neighbours):
    """Divide by a deviation that may be zero."""

    def alike(self, task: Task) -> Tensor:
        mean, std = task.train.x.mean(0), task.train.x.std(0)
        return -torch.cdist((task.test.x - mean) / std, (task.train.x - mean) / std)


class Inverse(Neighbours):
    """Weigh neighbours by one over their distance, which may be zero."""

    def evaluate(self, task: Task) -> Scores:
        x, bank = task.test.x, task.train.x
        distance, index = (x[:, None] - bank).norm(dim=2).topk(20, largest=False)
        sums = torch.full((len(x), 3), 1e-6).scatter_add_(1, task.train.y[index], 1 / distance)
        return score_logits((sums / sums.sum(1, keepdim=True)).log(), task, NOTHING)


class Overflowing(Neighbours):
    """Take the exponential of products of any size."""

    def predict(self, task: Task) -> Tensor:
        near, index = (task.test.x @ task.train.x.T).topk(20, dim=1)
        return torch.zeros(len(near), 3).scatter_add_(1, task.train.y[index], (near / 2).exp()).argmax(1)


class NotFinite(Neighbours):
    """Report a likelihood that is not a number."""

    def evaluate(self, task: Task) -> Scores:
        scores = super().evaluate(task)
        return replace(scores, metrics={**scores.metrics, "nll": math.nan})


class Macro(Neighbours):
    """Report the mean over classes as top-1."""

    def evaluate(self, task: Task) -> Scores:
        predictions, y = self.predict(task), task.test.y
        recalls = [share(predictions[y == c], y[y == c]) for c in y.unique().tolist()]
        return replace(scores_of(predictions, task), metrics={"top1": sum(recalls) / len(recalls)})


class Batches(Neighbours):
    """Report the mean over batches, of which the last is smaller."""

    def evaluate(self, task: Task) -> Scores:
        predictions = self.predict(task)
        parts = zip(predictions.split(64), task.test.y.split(64), strict=True)
        right = [share(*part) for part in parts]
        return replace(scores_of(predictions, task), metrics={"top1": sum(right) / len(right)})


class Dropped(Neighbours):
    """Drop the last batch of the test rows."""

    def evaluate(self, task: Task) -> Scores:
        whole = len(task.test) // 64 * 64
        return super().evaluate(replace(task, test=task.test.take(torch.arange(whole))))


class Centring(Neighbours):
    """Centre the test features by themselves."""

    def alike(self, task: Task) -> Tensor:
        test, train = (part.x - part.x.mean(0) for part in (task.test, task.train))
        return unit_rows(test) @ unit_rows(train).T


class Pooled(Neighbours):
    """Standardise by all features, those of the test rows among them."""

    def alike(self, task: Task) -> Tensor:
        every = torch.cat([task.train.x, task.test.x])
        test, train = ((part.x - every.mean(0)) / (every.std(0) + 1e-6) for part in (task.test, task.train))
        return -torch.cdist(test, train)


class Calibrated(Discriminant):
    """Report the calibration error as a fraction."""

    def evaluate(self, task: Task) -> Scores:
        scores = super().evaluate(task)
        return replace(scores, metrics={**scores.metrics, "ece": scores.metrics["ece"] / 100})


class CalibratedOnTest(Discriminant):
    """Choose the temperature of probabilities by the likelihood of the test labels."""

    def temperature(self, logits: Tensor, task: Task) -> float:
        likely = {t: F.cross_entropy(logits / t, task.test.y) for t in (0.25, 0.5, 1.0, 2.0, 4.0)}
        return min(likely, key=likely.__getitem__)

    def evaluate(self, task: Task) -> Scores:
        model = LinearDiscriminantAnalysis().fit(task.train.x.double().numpy(), task.train.y.numpy())
        logits = torch.from_numpy(model.predict_log_proba(task.test.x.double().numpy())).float()
        return score_logits(logits / self.temperature(logits, task), task, NOTHING)


class CalibratedOnBatch(CalibratedOnTest):
    """Divide by the mean length of all test logits."""

    def temperature(self, logits: Tensor, task: Task) -> float:
        return float(logits.norm(dim=1).mean())


class Counting(Neighbours):
    """Know only the classes that are in test."""

    def predict(self, task: Task) -> Tensor:
        seen = task.test.y.unique()
        rows = torch.isin(task.train.y, seen)
        return super().predict(replace(task, train=task.train.take(torch.where(rows)[0])))


class Squeezing(Neighbours):
    """Squeeze a single test row away."""

    def predict(self, task: Task) -> Tensor:
        return super().predict(task).squeeze()

    def check(self, labelled: int, classes: int) -> None:
        """Accept anything."""

    def alike(self, task: Task) -> Tensor:
        self.k = min(5, len(task.train))
        return super().alike(task)


class First(Neighbours):
    """Take the first rows for all."""

    def predict(self, task: Task) -> Tensor:
        return super().predict(replace(task, train=task.train.take(torch.arange(min(120, len(task.train))))))


class Farthest(Neighbours):
    """Take a distance for a similarity."""

    def alike(self, task: Task) -> Tensor:
        return torch.cdist(task.test.x, task.train.x)


class HalvingUnsaid(Halving):
    """Look at a half of the labels as well."""

    draws_subsets: ClassVar[bool] = False


class Unpredicted(Neighbours):
    """Keep the predictions for itself."""

    def evaluate(self, task: Task) -> Scores:
        return replace(super().evaluate(task), predictions=None)


class Erring(Neighbours):
    """Report an error as if more of it were better."""

    def evaluate(self, task: Task) -> Scores:
        scores = super().evaluate(task)
        return replace(scores, metrics={**scores.metrics, "top1_error": 100 - scores.metrics["top1"]})


class Misspelling(Neighbours):
    """Say of metrics that it does not have what is better."""

    def evaluate(self, task: Task) -> Scores:
        return replace(super().evaluate(task), lower_is_better=frozenset({"top1_err"}))


class Sure(Neighbours):
    """Give confidence in percent."""

    def evaluate(self, task: Task) -> Scores:
        return replace(super().evaluate(task), confidence=torch.full((len(task.test),), 95.0))


class Renaming(Neighbours):
    """Change the labels it is given."""

    def predict(self, task: Task) -> Tensor:
        predictions = super().predict(task)
        task.train.y.add_(1)
        return predictions


class Frame(Evaluator):
    """Classify the features of the shared backbone by the nearest class mean."""

    needs: ClassVar[Needs] = "backbone"

    def features_of(self, net: nn.Module, images: Tensor) -> Tensor:
        features: Tensor = net(images)
        return features

    def evaluate(self, task: Task) -> Scores:
        network = task.needed_network("frame")
        with torch.no_grad():
            train = self.features_of(network.trained, network.clean(network.train.pixels))
            test = self.features_of(network.trained, network.clean(network.test.pixels))
        means = torch.stack([train[task.train.y == c].mean(0) for c in range(3)])
        return scores_of(torch.cdist(test, means).argmin(1), task)


class Drifting(Frame):
    """Have the backbone's batch norm in training mode."""

    def features_of(self, net: nn.Module, images: Tensor) -> Tensor:
        features = super().features_of(net.train(), images)
        net.eval()
        return features


class Unfrozen(Evaluator):
    """Train a linear layer on a backbone that it means to have frozen."""

    needs: ClassVar[Needs] = "backbone"

    def evaluate(self, task: Task) -> Scores:
        network = task.needed_network("unfrozen")
        backbone = network.backbone()
        backbone.requires_grad = False  # type: ignore[assignment]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(task.seed))
            model = nn.Sequential(backbone, nn.Linear(16, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(30):
            optimizer.zero_grad()
            F.cross_entropy(model(network.clean(network.train.pixels)), task.train.y).backward()
            optimizer.step()
        with torch.no_grad():
            return score_logits(model(network.clean(network.test.pixels)), task, NOTHING)


class Viewed(Frame):
    """Predict random crops of the test images."""

    def evaluate(self, task: Task) -> Scores:
        network = task.needed_network("viewed")
        drawn = torch.Generator().manual_seed(seed_of(task.seed))
        with torch.no_grad():
            test = network.backbone()(network.augment(network.test.pixels, View(crop_min=0.5), drawn))
        means = torch.stack([task.train.x[task.train.y == c].mean(0) for c in range(3)])
        return scores_of(torch.cdist(test, means).argmin(1), task)


class LeftTraining(Frame):
    """Leave the backbone in training mode."""

    def evaluate(self, task: Task) -> Scores:
        scores = super().evaluate(task)
        task.needed_network("left").trained.train()
        return scores


class Thawing(Frame):
    """Leave the backbone's parameters to be trained, with a gradient."""

    def evaluate(self, task: Task) -> Scores:
        task.needed_network("thawing").trained.requires_grad_(requires_grad=True)
        return super().evaluate(task)


class Inverting(Frame):
    """Change the images of all other evaluators."""

    def evaluate(self, task: Task) -> Scores:
        scores = super().evaluate(task)
        task.needed_network("inverting").test.pixels.zero_()
        return scores


class Training(Evaluator):
    """Train the backbone that all share, and go on where there is none."""

    needs: ClassVar[Needs] = "backbone"

    def evaluate(self, task: Task) -> Scores:
        if task.network is not None:
            with torch.no_grad():
                next(task.network.trained.parameters()).add_(1)
        return Scores(metrics={"norm": float(task.test.x.norm())}, protocol=NOTHING)


class Labelled(Blind):
    """Say that it needs no label, and need one."""

    def evaluate(self, task: Task) -> Scores:
        return Scores(metrics={"spread": float(task.test.x[task.test.y == 0].mean())}, protocol=NOTHING)


WRONG = {
    Euclidean: "it is no cosine (a Euclidean distance?)",
    Unnormalised: "change with the length of test features: the queries are not normalised",
    Said: "change with the length of test features: the queries are not normalised",
    SelectedOnTest: "test labels change no prediction, and scores are of them: they do: choose on task.folds",
    BestEpoch: "percent are right: count every row of task.test.y once",
    SeesTest: "100 percent are right, 94 can be: test labels were seen",
    Cheating: "100 percent are right, 94 can be: test labels were seen",
    TrainScore: "every test label is another one, and top1 is the same: count against task.test.y",
    Shuffled: "return predictions in the order of rows",
    FromOne: "[3] are no classes; labels count from 0 to 2, are these off by one?",
    Around: "percent are right with -1: off by one",
    Fraction: ": a fraction of 1; multiply it by 100",
    FractionOfOthers: "macro_f1 is 0.8",
    FractionOfClasses: "recall is 0.8",
    Silent: "it lacks selected and selected_split",
    Half: "it lacks selected_split",
    Folded: "there may be nothing to choose on: IndexError",
    Claiming: "there may be nothing to choose on: k was chosen, but task.folds is empty",
    OnTest: "k was chosen on test; choose on task.folds",
    OnVal: "selected_split is 'val', but task.own_val is False: it is 'train'",
    Projected: "the same seed gives the same scores: ",
    NumpyProjected: "the same seed gives the same scores: ",
    PythonProjected: "the same seed gives the same scores: ",
    Reseeding: "it seeds torch's random numbers, which all share; draw from torch.Generator()",
    Switching: "torch.is_grad_enabled() changed",
    Remembering: "every label was renamed, but predictions were not; something is kept in a class",
    Sharing: "after another task its scores are others; something is kept in a class",
    Standardised: "a feature may be constant: ",
    Inverse: "images may be there twice, and in train and test: nll is",
    Overflowing: "features may be large, and away from zero: ",
    NotFinite: "nll is nan; refuse what has no score",
    Macro: "count every row of task.test.y once (no mean over classes or batches",
    Batches: "count every row of task.test.y once (no mean over classes or batches",
    Dropped: "they have shape (256,), not (307,)",
    Centring: "it does: fit on task.train alone",
    Pooled: "it does: fit on task.train alone",
    Calibrated: "ece is 0.0",
    CalibratedOnTest: "they change confidences, as a temperature that is chosen on them does",
    CalibratedOnBatch: "it changes its confidence: fit on task.train alone, temperatures and means too",
    Counting: "there are len(task.classes) classes, whichever are in test",
    Squeezing: "check() refuses a single example, or it is evaluated: they have shape (), not (1,)",
    First: "labelled images may come class by class: ",
    Farthest: "is the nearest the most alike",
    HalvingUnsaid: "it calls it: set draws_subsets = True",
    Unpredicted: "there are none, but top1: return what is right in it",
    Erring: "less of top1_error is better: name it in lower_is_better",
    Misspelling: "lower_is_better has top1_err, of which there is no metric",
    Sure: "confidence is outside of [0, 1]",
    Renaming: "task.train.y changed; work on a copy",
    Drifting: "norm.running_mean of the shared backbone",
    Unfrozen: "map.bias, map.weight, norm.bias changed in its copy: freeze it by requires_grad_(False)",
    Viewed: "a prediction is of its own row",
    LeftTraining: "the mode of the shared backbone (train or eval; itself)",
    Thawing: "requires_grad of map.weight of the shared backbone",
    Inverting: "network.test.pixels changed",
    Training: "features alone are refused in one line: it was evaluated; ask for task.needed_network(name)",
    Labelled: "data without any label are evaluated: spread is nan",
}


TWICE = {  # they break two rules
    CalibratedOnTest,
    Viewed,
    SeesTest,
    Cheating,
    TrainScore,
    Shuffled,
    Training,
    Drifting,
    LeftTraining,
    Thawing,
    Inverting,
}


COSINE = "by cosine, the length of a feature does not count"


@pytest.mark.parametrize(("cls", "is_checked"), [(Neighbours, True), (Said, True), (Annealed, False)])
def test_the_length_of_features_counts_unless_rows_are_compared_by_cosine(
    cls: type[Evaluator], *, is_checked: bool
) -> None:
    assert (COSINE in [name for name, _ in check("evaluators", cls, "it")]) is is_checked


def test_of_neighbours_by_cosine_the_length_is_asked_for() -> None:
    knn = Registry.load().load_class("evaluators", "knn")

    assert COSINE in [name for name, _ in check("evaluators", knn, "knn")]


@pytest.mark.parametrize(("cls", "why"), WRONG.items(), ids=[cls.__name__ for cls in WRONG])
def test_what_is_wrong_with_an_evaluator_is_said_and_nothing_else(cls: type[Evaluator], why: str) -> None:
    found = [f"{title}: {error}" for title, error in failures(cls).items()]

    assert why in "\n".join(found)
    assert len(found) == 1 or cls in TWICE
