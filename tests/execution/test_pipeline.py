"""What is made once, and what is made again."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from conftest import PROBE, Lab, modified_times, without_times

from bench.evaluation import features
from bench.planning.cells import Cell
from bench.storage.artifacts import ArtifactStore


def test_two_evaluators_share_one_backbone(probing: Lab, probes: Any) -> None:
    records = probing.run(probing.plan(**PROBE, evaluator=("knn", "witness"), label_frac=(0.5, 1.0)))

    assert [record["status"] for record in records] == ["ok"] * 4
    assert len(probes.MADE) == 1
    assert len({record["keys"]["backbone"] for record in records}) == 1
    assert len({record["keys"]["score"] for record in records}) == 4


def test_cells_that_share_data_share_it_in_memory(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    digits, loaded = lab.registry.load_class("datasets", "digits"), []
    load = digits.load
    monkeypatch.setattr(digits, "load", lambda self, split: loaded.append(split) or load(self, split))
    records = lab.run(lab.plan(method=("random", "simclr"), seed=(0, 1), evaluator=("knn", "linear")))

    assert [record["status"] for record in records] == ["ok"] * 8
    assert sorted(loaded) == ["test", "train"]


def test_cells_that_share_features_look_for_them_once_and_map_one_file(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look for an artifact is to read it: its digests are compared."""
    find, found = ArtifactStore.find, []
    load, loaded = features.load, []
    monkeypatch.setattr(ArtifactStore, "find", lambda store, key: found.append(key) or find(store, key))
    monkeypatch.setattr(features, "load", lambda folder: loaded.append(folder.name) or load(folder))
    settings = {"knn.k": (3, 4), "linear.tolerance": (1e-3, 1e-4)}
    records = lab.run(lab.plan(settings, seed=(0, 1), evaluator=("knn", "linear"), label_frac=(0.5, 1.0)))
    expected = {key for record in records for key in record["keys"]["features"].values()}

    assert len(records) > 8
    assert len(expected) == 4
    assert sorted(key for key in found if key in expected) == sorted(expected)
    assert set(loaded) == expected


def test_a_second_run_makes_nothing(probing: Lab, probes: Any) -> None:
    cells = probing.plan(**PROBE, evaluator=("knn", "witness"))
    first, before = probing.run(cells), modified_times(probing.folder)
    probes.TOLD.clear()
    second = probing.run(cells)

    assert second == first
    assert modified_times(probing.folder) == before
    assert (len(probes.MADE), probes.TOLD) == (1, [])


def test_a_record_that_another_process_wrote_meanwhile_stays(lab: Lab) -> None:
    (cell,) = lab.plan()
    ours = lab.pipeline()
    make, theirs = ours.scores.get, []

    def make_slowly(cell: Cell, *coming: Any) -> dict[str, Any]:
        theirs.extend(lab.run([cell]))
        return make(cell, *coming)

    ours.scores.get = make_slowly  # type: ignore[method-assign]
    (record,) = ours.run([cell])

    assert [record] == theirs
    assert lab.store.find(cell.names, cell.keys.score) == record


def test_a_changed_evaluator_retrains_nothing(probing: Lab, probes: Any) -> None:
    probing.run(probing.plan({"knn.k": 3}, **PROBE))
    before = modified_times(probing.folder / "artifacts")
    (record,) = probing.run(probing.plan({"knn.k": 4}, **PROBE))

    assert record["status"] == "ok"
    assert len(probes.MADE) == 1
    assert before.items() <= modified_times(probing.folder / "artifacts").items()


def test_features_are_enough_for_a_new_score(probing: Lab, probes: Any) -> None:
    """A checkpoint may be deleted to save room."""
    (first,) = probing.run(probing.plan({"knn.k": 3}, **PROBE))
    shutil.rmtree(probing.artifact(first["keys"]["backbone"]))
    (second,) = probing.run(probing.plan({"knn.k": 4}, **PROBE))

    assert second["status"] == "ok"
    assert len(probes.MADE) == 1
    assert second["cost"]["seconds"]["pretrain"] == first["cost"]["seconds"]["pretrain"]


def test_the_same_seed_gives_the_same_record_elsewhere(lab: Lab) -> None:
    cells = lab.plan(method="simclr")
    ours, theirs = lab.run(cells), lab.beside("other").run(cells)

    assert [without_times(record) for record in ours] == [without_times(record) for record in theirs]
