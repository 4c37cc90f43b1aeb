"""Labels that cannot be evaluated with are refused while planning."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.errors import BadData
from bench.planning.cells import PluginChoice
from bench.planning.planner import Datasets
from bench.planning.plugin_choices import PluginChoices
from bench.registry.registry import Registry


@pytest.mark.parametrize(("split", "count"), [("train", 32), ("test", 1)])
def test_data_without_the_labels_to_evaluate_on_is_refused(split: str, count: int) -> None:
    registry = Registry.load()
    datasets = Datasets(registry)
    parts = PluginChoices(registry, datasets)
    data = parts.choose("datasets", "digits", "dataset", {"dataset.max_train": 32})
    labels = {name: datasets.open(data).labels(name) for name in ("train", "test")}
    labels[split][:count] = [-1] * count
    (key,) = datasets.opened
    datasets.opened[key] = SimpleNamespace(splits=tuple(labels), labels=labels.get)

    with pytest.raises(
        BadData, match=r"^digits: there are labels of .* Evaluate on another --eval-dataset\.$"
    ):
        parts.subset(data, 0.5, seed=0)


def with_labels(split: str, swapped: dict[int, int]) -> tuple[PluginChoices, PluginChoice]:
    """Return digits of which some labels are others."""
    registry = Registry.load()
    datasets = Datasets(registry)
    parts = PluginChoices(registry, datasets)
    data = parts.choose("datasets", "digits", "dataset", {})
    digits = datasets.open(data)
    labels = {name: digits.labels(name) for name in ("train", "test")}
    labels[split] = [swapped.get(label, label) for label in labels[split]]
    (key,) = datasets.opened
    datasets.opened[key] = SimpleNamespace(splits=tuple(labels), labels=labels.get, info=digits.info)
    return parts, data


@pytest.mark.parametrize(("split", "word"), [("train", "training"), ("test", "test")])
@pytest.mark.parametrize(
    ("swapped", "names"), [({3: 4}, "3"), (dict.fromkeys(range(5), 9), "0, 1, 2 and 2 more")]
)
def test_a_split_without_a_class_is_refused(
    split: str, word: str, swapped: dict[int, int], names: str
) -> None:
    parts, data = with_labels(split, swapped)

    with pytest.raises(
        BadData,
        match=rf"^digits: there is no {word} image of {names}\. Add some, or .* dataset\.classes\.$",
    ):
        parts.subset(data, 1.0, seed=0)


@pytest.mark.parametrize(("split", "label"), [("train", 10), ("test", 10), ("train", -2)])
def test_a_label_of_no_class_is_refused(split: str, label: int) -> None:
    parts, data = with_labels(split, {3: label})

    with pytest.raises(
        BadData, match=rf"^digits: a \w+ label is {label}, but there are 10 classes\. Use labels"
    ):
        parts.subset(data, 1.0, seed=0)
