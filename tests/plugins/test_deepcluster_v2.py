"""DeepCluster v2's clusters and loss are those of its authors, of the epoch before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from bench_plugins.methods.deepcluster_v2 import NONE, evenness
from conftest import Lab
from kept_state import largest_difference, stopped, trained
from sines import exactly, figures, sine, units
from tiny_training import IMAGES, INFO, Exact, frozen, net
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Method, Step
from bench.nn.clustering import spherical_kmeans
from bench.registry.registry import Registry
from bench.testing import check_method

DeepClusterV2 = Registry.load().load_class("methods", "deepcluster_v2")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)


def method(images: int, dim: int, **config: Any) -> Any:
    torch.manual_seed(0)
    settings = DeepClusterV2.Config(**{"embedding_dim": dim, "hidden_dim": 8, **config})
    return DeepClusterV2(nn.Flatten(), 12, settings, replace(DATA, images=images)).double()


def small(seed: int, *first: nn.Module) -> Any:
    torch.manual_seed(seed)
    config = DeepClusterV2.Config(prototypes=5, heads=3, hidden_dim=8, embedding_dim=4)
    return DeepClusterV2(net(*first), 6, config, replace(INFO, images=len(IMAGES)))


def exact(seed: int) -> Method:
    """Return it in float64."""
    return cast("Method", frozen(small(seed, Exact())).double())


def batch_of(index: Sequence[int]) -> Batch:
    return Batch(torch.tensor(index), torch.zeros(len(index), dtype=torch.int64))


def named(views: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"view_{number}": z for number, z in enumerate(views)}


def unit(row: list[float]) -> list[float]:
    return [x / math.hypot(*row) for x in row]


def clustered(
    images: int, dim: int, heads: int, count: int, monkeypatch: pytest.MonkeyPatch, **config: Any
) -> Any:
    """Return a method that has clustered the banks of the authors' case: row i is that of image 7 i + 3."""
    case = method(images, dim, heads=heads, prototypes=count, **config)
    rows = torch.arange(images)
    for number, bank in enumerate(case.banks):
        bank.rows[(7 * rows + 3) % images] = units(20 + number, images, dim)
    case.seen.fill_(1)
    start = (7 * ((5 * rows + 2) % images) + 3) % images
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randperm", lambda n: start[:n])
        case.before_step(Step())
    return case


@pytest.mark.parametrize(
    ("n", "d", "count", "heads", "temperature", "losses", "gradients", "centroids", "assignments"),
    [
        (
            8, 6, 4, 1, 0.1, (6.49423763468, 8.62566091391),
            [(-1.24389840328, 1.40706115222, 3.66885999194e-05, 9.6354265578e-05),
             (-0.839808421157, 0.391547573645, 0.205393546019, 0.10353397245),
             (1.0954049801, 0.485521015672, -0.000182465863951, 0.263304328378),
             (2.90669549975, 1.59313146145, -0.184007107336, -0.0601834963309)],
            [(-0.584955030379, 4.0, 0.00485269508182, -0.542261908438)],
            ["0022100321303213"],
        ),
        (
            16, 16, 8, 2, 0.2, (5.20542804113, 5.35713739026),
            [(-0.0640004753422, 0.0337227785567, 0.0139358778028, 0.00105864187698),
             (-0.239889174412, 0.0281235567831, -0.00702905685996, 0.00570053130336),
             (0.151703665815, 0.0192796476621, 0.009457305361, -0.000916970135774),
             (0.136702188718, 0.0328060896589, 0.00708018717802, 0.010437199623)],
            [(-0.137155392266, 8.0, 0.0916664204814, -0.339154093749),
             (-0.273211613012, 8.0, 0.444986810458, -0.168811285616)],
            ["56567275056131202013127205612424", "56567275056137205013124245612424"],
        ),
    ],
)  # fmt: skip
def test_clusters_loss_and_gradient_are_those_of_the_authors_code(
    n: int, d: int, count: int, heads: int, temperature: float, losses: Any, gradients: Any, centroids: Any,
    assignments: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # facebookresearch/swav 06b1b7cb main_deepclusterv2.py, two steps of an epoch of 2 n images, two crops
    case = clustered(2 * n, d, heads, count, monkeypatch, temperature=temperature)
    for head in range(heads):
        assert figures(case.prototypes[head]) == exactly(*centroids[head])
        assert "".join(map(str, case.assignments[head].tolist())) == assignments[head]
    for number in range(2):
        views = [sine(2 * number + crop, n, d).requires_grad_() for crop in range(2)]
        batch = batch_of(range(number * n, (number + 1) * n))
        loss = case.terms(named(views), batch)["cluster"]
        loss.backward()

        assert float(loss.detach()) == pytest.approx(losses[number], rel=1e-10)
        for view, gradient in zip(views, gradients[2 * number : 2 * number + 2], strict=True):
            assert figures(view.grad) == exactly(*gradient)


def test_the_loss_is_the_mean_over_heads_views_and_images_that_have_a_cluster() -> None:
    case = method(9, 5, heads=2, prototypes=3, temperature=0.5)
    case.prototypes.copy_(units(4, 2, 3, 5))
    case.assignments[0] = torch.tensor([0, 1, 2, NONE, 0, 1, 2, NONE, 0])
    case.assignments[1] = torch.tensor([2, NONE, 1, 1, 0, NONE, 2, 0, 0])
    views, index = [sine(number, 4, 5) for number in range(3)], [1, 3, 4, 8]
    heads = []
    for head in range(2):
        losses = []
        for view in views:
            for row, image in zip(view.tolist(), index, strict=True):
                target = int(case.assignments[head, image])
                if target == NONE:
                    continue
                logits = [sum(a * b for a, b in zip(unit(row), c, strict=True)) / 0.5
                          for c in case.prototypes[head].tolist()]  # fmt: skip
                losses.append(math.log(sum(map(math.exp, logits))) - logits[target])
        heads.append(sum(losses) / len(losses))

    assert float(case.terms(named(views), batch_of(index))["cluster"]) == pytest.approx(
        sum(heads) / 2, rel=1e-9
    )


def test_a_batch_of_images_without_a_cluster_has_no_loss() -> None:
    case = method(9, 5, heads=2, prototypes=3)

    assert float(case.terms(named([sine(0, 4, 5)]), batch_of([0, 1, 2, 3]))["cluster"]) == 0


def test_what_has_collapsed_has_the_loss_of_chance() -> None:
    case = method(9, 5, heads=1, prototypes=3)
    case.prototypes.fill_(5**-0.5)
    case.assignments.fill_(1)

    assert float(case.terms(named([torch.ones(4, 5).double()]), batch_of([0, 1, 2, 3]))["cluster"]) == (
        pytest.approx(math.log(3))
    )


def test_heads_take_turns_over_the_banks_and_start_from_other_rows() -> None:
    case = method(20, 4, heads=3, prototypes=6)
    case.banks[0].rows, case.banks[1].rows = units(0, 20, 4), units(1, 20, 4)
    case.seen.fill_(1)
    case.before_step(Step())
    first, second, third = case.prototypes

    assert not torch.equal(first, third)
    for prototypes, bank in ((first, 0), (second, 1), (third, 0)):
        again, _ = spherical_kmeans(case.banks[bank].rows, prototypes, 30)
        assert torch.allclose(again, spherical_kmeans(case.banks[bank].rows, again, 1)[0])
        assert float((case.banks[bank].rows @ prototypes.T).amax(dim=1).mean()) > 0.9


def test_clusters_are_of_the_images_of_the_last_epoch_and_made_once_in_one() -> None:
    case = method(10, 4, heads=1, prototypes=2)
    first, steps = [0, 2, 3, 5, 7, 8], [Step(number=n, total=4, epoch=n // 2, epochs=2) for n in range(4)]
    for index in (first[:3], first[3:]):
        case.first_pass(named([sine(1, 3, 4), sine(2, 3, 4)]), batch_of(index))
    case.before_step(steps[0])
    with_a_cluster = (case.assignments[0] != NONE).nonzero().flatten().tolist()
    before = case.prototypes.clone()
    case.after_batch(named([sine(5, 4, 4), sine(6, 4, 4)]), batch_of([1, 4, 6, 9]))
    case.before_step(steps[1])

    assert with_a_cluster == first
    assert torch.equal(case.prototypes, before)
    case.before_step(steps[2])
    assert (case.assignments[0] != NONE).nonzero().flatten().tolist() == [1, 4, 6, 9]
    assert not torch.equal(case.prototypes, before)


def test_banks_are_of_the_global_views_and_prototypes_take_no_gradient() -> None:
    case, views = method(6, 4, heads=1, prototypes=2), [sine(number, 3, 4) for number in range(4)]
    case.after_batch(named(views), batch_of([4, 0, 2]))

    for bank, view in zip(case.banks, views, strict=False):
        assert torch.allclose(bank.rows[[4, 0, 2]], nn.functional.normalize(view, dim=1))
    assert case.seen.tolist() == [True, False, True, False, True, False]
    assert [name for name, _ in case.named_parameters() if "projector" not in name] == []


@pytest.mark.parametrize("changes", [{}, {"chunk_size": 7}])
def test_a_stopped_training_goes_on_with_its_clusters_bit_for_bit(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    whole = trained(small, tmp_path / "whole", epochs=3, **changes)
    again = stopped(small, tmp_path / "parts", 3, epochs=3, **changes)

    assert largest_difference(whole.state_dict(), again.state_dict()) == 0
    assert int((whole.assignments != NONE).sum()) == 3 * 40


def test_in_chunks_the_clusters_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    whole, chunked = (trained(exact, tmp_path / str(size), epochs=2, chunk_size=size) for size in (None, 7))

    assert largest_difference(whole.state_dict(), chunked.state_dict()) < 1e-5


def test_more_prototypes_than_an_epoch_has_images_are_refused(lab: Lab) -> None:
    """There are 48, and 3 steps of 16."""
    few, many = lab.plan({"method.prototypes": (48, 49)}, method="deepcluster_v2")

    assert few.skip is None
    assert many.skip == (
        "deepcluster_v2: an epoch has 48 images, too few for 49 clusters. "
        "Set method.prototypes to at most 48; a tenth of that is a start."
    )


def test_how_evenly_prototypes_are_used_is_told() -> None:
    assert float(evenness(torch.tensor([0, 1, 2, 3, NONE]), 4)) == pytest.approx(100)
    assert float(evenness(torch.tensor([2, 2, 2, NONE]), 4)) == pytest.approx(25)


def test_large_images_have_six_small_views_and_small_ones_what_is_asked_for() -> None:
    large, small_images, asked = (
        DeepClusterV2.views(DeepClusterV2.Config(local_views=count), DATA, size)
        for count, size in ((None, 224), (None, 32), (3, 32))
    )

    assert [view.size for view in large] == [None] * 2 + [96] * 6
    assert [view.size for view in small_images] == [None] * 2
    assert [view.size for view in asked] == [None] * 2 + [14] * 3
    assert (large[0].crop_min, large[2].crop_max, large[2].crop_min) == (0.14, 0.14, 0.05)
    assert {(v.crop_min, v.brightness, v.hue, v.blur) for v in small_images} == {(0.08, 0.8, 0.2, 0.5)}


def test_deepcluster_v2_keeps_the_contract_with_views_of_two_sizes() -> None:
    config = DeepClusterV2.Config(hidden_dim=32, embedding_dim=16, prototypes=5, local_views=2)
    check_method(DeepClusterV2, "deepcluster_v2", config)


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(DeepClusterV2.Config()) == {
        "temperature": 0.1,
        "prototypes": 3000,
        "heads": 3,
        "kmeans_iterations": 10,
        "local_views": None,
        "hidden_dim": 2048,
        "embedding_dim": 128,
    }


def test_every_number_of_the_recipes_is_pinned() -> None:
    large, small_images = (DeepClusterV2.recipe_for(DeepClusterV2.Config(), DATA, size) for size in (224, 32))

    assert (large.optimizer, large.lr_scaling) == ("lars", "linear")
    assert (large.lr, large.min_lr) == (pytest.approx(0.3), pytest.approx(0.0003))
    assert (large.weight_decay, large.momentum, large.warmup_epochs) == (1e-6, 0.9, 10)
    assert (small_images.lr, small_images.min_lr, small_images.warmup_epochs) == (0.6, 0.0006, 11)
    assert (small_images.trust, small_images.clip_trust, large.trust) == (0.001, False, 0.001)
    assert (small_images.weight_decay, small_images.optimizer) == (1e-6, "lars")
