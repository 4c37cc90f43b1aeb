"""Features, evaluators and whole runs on a GPU, against the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from environment import environment
from gpu_training import draw_pixels

from bench.contracts.evaluator import Features, Task, draw_folds
from bench.evaluation import features
from bench.metrics.neighbours import nearest, unit_rows
from bench.registry.registry import Registry
from bench.storage.records import Record, RecordStore
from bench.system.arithmetic import float32_as

CPU = torch.device("cpu")
HARMFUL = Path(__file__).parents[1] / "harmful"
PASS: dict[str, Any] = {"image_size": 32, "channels": 3, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


def build_backbone(name: str = "resnet18") -> Any:
    torch.manual_seed(0)
    cls = Registry.load().load_class("backbones", name)
    return cls(name, cls.Config(), 3, 32).eval()


def extract(backbone: Any, count: int, device: torch.device) -> torch.Tensor:
    with float32_as("float32"):
        return torch.cat(list(features.extract(backbone, draw_pixels(count, 32), device=device, **PASS)))


def test_features_are_those_of_the_cpu(device: torch.device) -> None:
    backbone = build_backbone()
    expected = extract(backbone, 64, CPU)
    found = extract(backbone.to(device, memory_format=torch.channels_last), 64, device)

    assert float((found - expected).norm() / expected.norm()) < 1e-4


def test_a_pass_halves_its_chunks_until_they_fit(cuda: torch.device) -> None:
    backbone = build_backbone().to(cuda, memory_format=torch.channels_last)
    total = torch.cuda.mem_get_info(cuda)[1]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(cuda) + 5e8) / total, cuda)
    try:
        parts = features.extract(backbone, draw_pixels(10_000, 32), device=cuda, **PASS)
        rows = [len(part) for part in parts]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, cuda)

    assert sum(rows) == 10_000
    assert rows[0] < 4_096


def describe_task(device: torch.device, dim: int = 32) -> Task:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(10, dim, generator=generator)

    def draw(count: int) -> Features:
        y = torch.arange(count) % 10
        return Features(centres[y] + 2.5 * torch.randn(count, dim, generator=generator), y)

    train, test = draw(600), draw(600)
    return Task(
        train=train, test=test, folds=draw_folds(train, 0), classes=tuple("abcdefghij"), seed=0, device=device
    )


@pytest.mark.parametrize("name", ["linear", "knn", "mlp", "label-fraction", "linear-sgd"])
def test_an_evaluator_finds_what_it_finds_on_the_cpu(device: torch.device, name: str) -> None:
    cls = Registry.load().load_class("evaluators", name)
    changes: dict[str, Any] = {
        "linear-sgd": {"epochs": 3, "augment": False},
        "label-fraction": {"fractions": (0.1, 1.0), "draws": (2, 1)},
        "mlp": {"precision": "float32"},
    }.get(name, {})
    found = [cls(cls.Config(**changes)).evaluate(describe_task(at)).metrics for at in (CPU, device)]
    top1 = [next(iter(metrics.values())) for metrics in found]

    assert top1[0] == pytest.approx(top1[1], abs=0.7)


def test_neighbours_are_those_of_the_cpu_equal_ones_in_the_order_of_the_bank(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    bank = unit_rows(torch.randn(2_000, 128, generator=generator))
    bank[1000:1100] = bank[:100]
    queries = torch.cat([bank[:50], unit_rows(torch.randn(200, 128, generator=generator))])
    near, index = nearest(queries, bank, 20)
    there, place = nearest(queries.to(device), bank.to(device), 20)

    assert float((index == place.cpu()).float().mean()) > 0.999
    assert torch.allclose(near, there.cpu(), atol=1e-5)


def run(device: torch.device, folder: Path, *args: str) -> tuple[int, list[Record], str]:
    """Run the command; return its exit status, the records and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "--results", str(folder), "--device", str(device), *args],
        env=environment(HARMFUL), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, list(RecordStore(folder).records()), done.stderr


def test_every_evaluator_is_run_by_the_command(device: torch.device, tmp_path: Path) -> None:
    evaluators = "linear,knn,mlp,label-fraction,linear-sgd,finetune,geometry"
    few = "linear-sgd.epochs=1", "finetune.epochs=1", "geometry.lidar_images=20"
    sets = [word for setting in few for word in ("--set", setting)]
    status, records, said = run(
        device, tmp_path, "--method", "simclr,random", "--epochs", "1", "--eval", evaluators, *sets
    )

    assert status == 0, said
    assert {record["status"] for record in records} == {"ok"}
    assert all(record["provenance"]["device"].startswith(device.type) for record in records)
    assert all(record["cost"]["peak_mb"]["features"] > 0 for record in records)


def test_two_processes_share_a_device(device: torch.device, tmp_path: Path) -> None:
    args = "--method", "simclr", "--epochs", "1", "--eval", "knn", "--seed", "0,1", "--jobs", "2"
    status, records, said = run(torch.device(device.type), tmp_path, *args)

    assert status == 0, said
    assert [record["status"] for record in records] == ["ok", "ok"]


def test_deterministic_repeats_itself_to_the_bit(cuda: torch.device, tmp_path: Path) -> None:
    args = "--method", "simclr", "--epochs", "2", "--eval", "linear", "--deterministic"
    (one,), (other,) = (run(cuda, tmp_path / name, *args)[1] for name in ("one", "other"))

    assert one["provenance"]["deterministic"] is True
    assert one["metrics"] == other["metrics"]


def test_an_error_that_stays_fails_its_cell_and_no_other(cuda: torch.device, tmp_path: Path) -> None:
    names = "--method", "random", "--backbone", "harm-backbone", "--dataset", "harm-dataset", "--eval", "knn"
    harms = "--seed", "0,1", "--set", "harm-backbone.harm=none,forward assert"
    status, records, said = run(cuda, tmp_path, *names, *harms, "--image-size", "16")
    found = sorted((record["settings"]["harm-backbone.harm"], record["status"]) for record in records)

    assert status == 1, said
    assert found == [("forward assert", "failed")] * 2 + [("none", "ok")] * 2
