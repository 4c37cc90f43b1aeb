"""Several processes that share each batch train as one does: in float64 to almost nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rank_training
import torch
import torch.nn.functional as F
from environment import environment
from file_streams import READ, SIZED, make_pixels, stream_of, two_batches, write_files
from file_streams import run_in as stream_run
from rank_training import REGISTRY, VARIANTS
from torch import Tensor, nn

from bench.errors import CellError
from bench.pretraining.gradient_cache import own_rows
from bench.pretraining.rank_share import Places, RankShare
from bench.pretraining.view_sources import FileViews
from bench.system.ranks import Ranks

METHODS = [entry.name for entry in REGISTRY.entries("methods")]
TRAINED = [name for name in METHODS if REGISTRY.load_class("methods", name).recipe is not None]
CROPPED = ["deepcluster_v2", "dino", "lejepa", "swav"]
FEW = [  # one of each kind, in two processes as well
    "simclr/whole", "swav/crops-chunks", "mocov2/random", "byol/lars", "simclr/resnet", "dino/crops",
    "vibcreg/both", "npid/accumulate",
]  # fmt: skip
TOLERANCE = 1e-6
Results = Callable[[int, str], Any]


def read(folder: Path, size: int, case: str) -> Any:
    return torch.load(folder / str(size) / f"{case.replace('/', '-')}.pt")


def train(folder: Path, sizes: str, cases: list[str]) -> None:
    """Run cases in as many processes as each of the sizes says."""
    command = [sys.executable, rank_training.__file__, str(folder), sizes, *cases]
    variables = environment(Path(rank_training.__file__).parent, OMP_NUM_THREADS="1")
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("devices")
    train(folder / "each", "1,4", [f"{name}/chunks" for name in TRAINED] + ["features", "differ", "go-on"])
    train(folder / "few", "1,2", FEW)

    def find(size: int, case: str) -> Any:
        within = "few" if case in FEW else "each"
        return read(folder / within, size, case)

    return find


def require_alike(one: Any, several: Any) -> None:
    """Fail unless the gradient of every step, and the state after the last, are those of one process."""
    assert len(one["gradients"]) >= 5
    assert any(gradient.any() for gradient in one["gradients"][-1].values())
    for wanted, found in zip(one["gradients"], several["gradients"], strict=True):
        assert found.keys() == wanted.keys()
        total = torch.stack([gradient.norm() for gradient in wanted.values()]).norm()
        for name, gradient in wanted.items():
            floor = 1e-6 * total  # a bias that batch norm takes off has rounding for a gradient
            apart = (found[name] - gradient).norm()
            assert apart <= TOLERANCE * max(gradient.norm(), floor), name
    for name, value in one["state"].items():
        torch.testing.assert_close(several["state"][name], value, rtol=TOLERANCE, atol=1e-9, msg=name)
    assert several["passes"] == one["passes"]


@pytest.mark.parametrize("name", TRAINED)
def test_four_processes_train_a_method_in_chunks_as_one_does(results: Results, name: str) -> None:
    require_alike(results(1, f"{name}/chunks"), results(4, f"{name}/chunks"))


@pytest.mark.parametrize("case", FEW)
def test_two_processes_train_as_one_does(results: Results, case: str) -> None:
    require_alike(results(1, case), results(2, case))


@pytest.mark.long
def test_every_method_is_trained_as_in_one_process_whatever_is_done_to_the_batch(tmp_path: Path) -> None:
    usual = [
        variant for variant, changes in VARIANTS.items() if not {"network", "local_views"} & changes.keys()
    ]
    cases = [f"{name}/{variant}" for name in TRAINED for variant in usual]
    cases += [f"{name}/{variant}" for name in CROPPED for variant in ("crops", "crops-chunks")]
    cases += [
        f"{name}/{variant}" for name in TRAINED if name != "mae" for variant in ("random", "random-chunks")
    ]
    train(tmp_path / "all", "1,2,4", cases)

    for case in cases:
        for size in (2, 4):
            require_alike(read(tmp_path / "all", 1, case), read(tmp_path / "all", size, case))


def test_features_are_those_of_one_process_to_the_bit(results: Results) -> None:
    one, several = results(1, "features"), results(4, "features")

    assert len(one) == 25
    assert torch.equal(one, several)


def test_a_rank_that_keeps_something_else_ends_the_training(results: Results) -> None:
    assert results(1, "differ") == ""
    assert "after epoch 1 the devices do not hold the same odd" in results(4, "differ")


def test_a_training_that_one_process_began_is_gone_on_with_by_four(results: Results) -> None:
    one, several = results(1, "go-on"), results(4, "go-on")

    assert one["steps"] == several["steps"] == [5, 6]
    assert (one["devices"], several["devices"]) == ((1,), (1, 4))
    for name, value in one["state"].items():
        torch.testing.assert_close(several["state"][name], value, rtol=TOLERANCE, atol=1e-9, msg=name)


# ---- what is drawn, without processes


@pytest.mark.parametrize("count", [7, 8])
def test_shares_follow_each_other_and_are_alike_but_for_one_row(count: int) -> None:
    shares = Ranks(0, 4).shares(slice(3, 3 + count))
    sizes = [part.stop - part.start for part in shares]

    assert [row for part in shares for row in range(part.start, part.stop)] == list(range(3, 3 + count))
    assert max(sizes) - min(sizes) <= 1


def rows_of_ranks(draw: Callable[[int], Tensor], views: int = 1, count: int = 7) -> list[Tensor]:
    """Return what each of three ranks draws for its rows of some views of images."""
    made = []
    for rank in range(3):
        places = Places.of(Ranks(rank, 3), count)
        torch.manual_seed(0)
        with RankShare(Ranks(rank, 3), places):
            made.append(draw(views * len(places.own)))
    return made


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: torch.rand(n, 2),
        lambda n: torch.randn((n, 2)),
        lambda n: torch.rand_like(torch.empty(n, 2)),
        lambda n: torch.empty(n, 2).bernoulli_(0.4),
        lambda n: torch.empty(n, 2).uniform_(2, 3) + torch.empty(n, 2).exponential_(),
        lambda n: F.dropout(torch.ones(n, 5), 0.5),
        lambda n: nn.Dropout2d(0.5)(torch.ones(n, 5, 3, 3)),
    ],
)
def test_an_image_has_the_random_numbers_of_its_place_in_the_batch(draw: Callable[[int], Tensor]) -> None:
    torch.manual_seed(0)
    whole = draw(2 * 7).unflatten(0, (2, 7))
    parts = [rows.unflatten(0, (2, -1)) for rows in rows_of_ranks(draw, views=2)]

    assert torch.equal(torch.cat(parts, dim=1), whole)
    assert len(whole.unique()) > 1


def test_what_belongs_to_no_image_is_drawn_alike() -> None:
    first, *others = rows_of_ranks(lambda _: torch.rand(()))

    assert all(torch.equal(first, other) for other in others)


def test_draws_that_cannot_be_shared_out_are_refused_in_one_line() -> None:
    def attend(n: int) -> Tensor:
        x = torch.ones(n, 1, 4, 8)
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)

    with pytest.raises(CellError, match=r"^embed\(\): it draws random numbers .*--devices") as caught:
        rows_of_ranks(attend)

    assert "\n" not in str(caught.value)


# ---- views


@pytest.mark.parametrize("chunk_size", [None, 7])
def test_a_rank_decodes_its_own_files_and_makes_the_views_of_one_process(
    tmp_path: Path, chunk_size: int | None
) -> None:
    files = write_files(tmp_path / "files", make_pixels())
    decoded: list[Path] = []

    def reader(file: Path, shrink: Any) -> Any:
        decoded.append(file)
        return READ(file, shrink)

    def views_of(rank: int, size: int) -> tuple[list[list[Tensor]], int]:
        """Return the views of each of a rank's rows of a batch, and how many files it has decoded."""
        decoded.clear()
        ranks = Ranks(rank, size)
        run = stream_run(tmp_path / "run", views=SIZED, chunk_size=chunk_size, ranks=ranks)
        made = FileViews(stream_of(files, reader), run, two_batches).views(next(two_batches(0))[0], 0, 0)
        return [made(rows) for rows in own_rows(20, chunk_size, ranks)], len(decoded)

    alone, _ = views_of(0, 1)
    parts, counts = zip(*(views_of(rank, 3) for rank in range(3)), strict=True)

    assert sum(counts) == 20
    assert max(counts) < 10
    for chunk, whole in enumerate(alone):
        joined = [torch.cat(rows) for rows in zip(*(part[chunk] for part in parts), strict=True)]
        assert all(map(torch.equal, joined, whole))
