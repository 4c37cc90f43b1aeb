"""MAE's loss is that of its authors: over hidden patches only, each without its mean and deviation."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from typing import Any

import pytest
import torch
from conftest import Lab
from sines import exactly, figures, sine
from torch import Tensor

from bench.api import patchify
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch
from bench.registry.registry import Registry
from bench.testing import check_method
from bench.testing.networks import Patches

MAE = Registry.load().load_class("methods", "mae")
patch_targets = sys.modules[MAE.__module__].patch_targets
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
SMALL = {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return MAE(Patches(), 16, MAE.Config(**{**SMALL, **config}), DATA)


def batch(mae: Any, n: int, seed: int = 0) -> Batch:
    return Batch(torch.arange(n), torch.arange(n), mae.draw(n, torch.Generator().manual_seed(seed)))


def images(n: int = 3) -> Tensor:
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def loss_of(predicted: Tensor, pixels: Tensor, mask: Tensor, patch: int, *, normalise: bool) -> Tensor:
    """Return what `embed` and `terms` make of a prediction."""
    error = (predicted - patch_targets(pixels, patch, normalise=normalise)).square().mean(dim=2)
    index = torch.arange(len(pixels))
    loss: Tensor = method().terms({"error": error}, Batch(index, index, {"mask": mask}))["reconstruction"]
    return loss


def plain_loss(predicted: Tensor, pixels: Tensor, mask: Tensor, patch: int) -> float:
    """Return the mean over hidden patches, each with its own mean and deviation taken out."""
    total, hidden = 0.0, 0
    for image, image_mask, image_predicted in zip(pixels, mask.tolist(), predicted.tolist(), strict=True):
        across = image.shape[2] // patch
        for number, is_hidden in enumerate(image_mask):
            if not is_hidden:
                continue
            top, left = patch * (number // across), patch * (number % across)
            values = [float(image[c, top + i, left + j])
                      for i in range(patch) for j in range(patch) for c in range(3)]  # fmt: skip
            mean = sum(values) / len(values)
            variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
            wanted = [(v - mean) / math.sqrt(variance + 1e-6) for v in values]
            given = image_predicted[number]
            total += sum((a - b) ** 2 for a, b in zip(given, wanted, strict=True)) / len(values)
            hidden += 1
    return total / hidden


def authors_mask(n: int, patches: int) -> Tensor:
    return torch.tensor([[(7 * i + 3 * k) % 4 != 0 for k in range(patches)] for i in range(n)])


@pytest.mark.parametrize(
    ("n", "side", "patch", "normalise", "value", "gradient"),
    [
        (2, 8, 4, False, 1.18881603672, (-0.0250819137618, 0.0165113338433, 0.0, 0.0)),
        (2, 8, 4, True, 1.54562161829, (0.00530877731333, 0.0214669669207, 0.0, 0.0)),
        (3, 16, 4, True, 1.51631861139, (0.000551866057675, 0.00350999678563, 0.0, -8.35595495974e-05)),
        (2, 8, 2, True, 1.44681775237, (-0.0163602379275, 0.0200946910052, 0.0, 0.0)),
    ],
)
def test_value_and_gradient_are_those_of_the_authors_code(
    n: int,
    side: int,
    patch: int,
    normalise: bool,  # noqa: FBT001
    value: float,
    gradient: Any,
) -> None:
    # facebookresearch/mae efb2a806 models_mae.py forward_loss
    pixels, patches = sine(0, n, 3, side, side), (side // patch) ** 2
    predicted = sine(1, n, patches, 3 * patch**2).requires_grad_()
    loss = loss_of(predicted, pixels, authors_mask(n, patches), patch, normalise=normalise)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(value, rel=1e-9)
    assert figures(predicted.grad) == exactly(*gradient)


def test_the_loss_is_the_papers_in_plain_loops() -> None:
    pixels, mask = sine(4, 2, 3, 16, 16), authors_mask(2, 16)
    predicted = sine(5, 2, 16, 48)
    loss = loss_of(predicted, pixels, mask, 4, normalise=True)

    assert float(loss) == pytest.approx(plain_loss(predicted, pixels, mask, 4), rel=1e-9)


def test_what_is_predicted_of_seen_patches_does_not_matter() -> None:
    pixels, mask = sine(4, 2, 3, 16, 16), authors_mask(2, 16)
    predicted = sine(5, 2, 16, 48)
    other = torch.where(mask.unsqueeze(2), predicted, 100.0)

    assert loss_of(predicted, pixels, mask, 4, normalise=True) == loss_of(
        other, pixels, mask, 4, normalise=True
    )


def test_the_encoder_does_not_see_hidden_patches() -> None:
    mae, x = method().eval(), images()
    here = batch(mae, 3)
    hidden = here.draws["mask"].view(3, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    features = [mae.embed([pixels], here)["features"] for pixels in (x, torch.where(hidden, 9.0, x))]

    assert torch.allclose(*features)
    assert not torch.allclose(features[0], mae.embed([x + ~hidden], here)["features"])


def test_every_image_has_a_mask_of_its_own_and_all_hide_as_many_patches() -> None:
    mae = method()
    draws = mae.draw(50, torch.Generator().manual_seed(0))
    mask, seen = draws["mask"], draws["seen"]

    assert mask.sum(dim=1).tolist() == [12] * 50
    assert seen.shape == (50, 4)
    assert not mask.gather(1, seen).any()
    assert len({tuple(row) for row in mask.tolist()}) > 40


def test_the_patches_are_those_of_the_encoder_and_the_class_token_goes_with_them() -> None:
    mae, x = method(), images()
    tokens = mae.backbone.tokens(x, torch.arange(16).expand(3, -1))

    assert mae.patches == patchify(x, mae.patch).shape[1] == tokens.patches.shape[1]
    assert tokens.prefix.shape[1] == 1


def test_a_network_without_patches_is_skipped_while_planning(lab: Lab) -> None:
    cells = lab.plan({"train.image_size": 32}, method=("mae", "simclr"), backbone=("test_resnet", "test_vit"))
    resnet, vit = (cell for cell in cells if cell.method.name == "mae")

    assert vit.skip is None
    assert str(resnet.skip).startswith("mae: it hides patches, but this backbone has none.")


def test_it_is_trained_and_evaluated(lab: Lab) -> None:
    settings = {f"method.{name}": value for name, value in SMALL.items()}
    (record,) = lab.run(lab.plan({"train.image_size": 32, **settings}, method="mae", backbone="test_vit"))

    assert record["status"] == "ok"
    assert record["config"]["training"]["betas"] == [0.9, 0.95]


def test_the_recipe_is_the_papers() -> None:
    recipe = MAE.recipe_for(MAE.Config(), DATA, 224)

    assert (recipe.optimizer, recipe.lr, recipe.betas, recipe.weight_decay) == (
        "adamw",
        1.5e-4,
        (0.9, 0.95),
        0.05,
    )
    assert recipe.warmup_epochs == 40


def test_mae_keeps_the_contract() -> None:
    check_method(MAE, "mae", MAE.Config(**SMALL))


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(MAE.Config()) == {
        "mask_ratio": 0.75,
        "normalise_patches": True,
        "decoder_dim": 512,
        "decoder_depth": 8,
        "decoder_heads": 16,
    }
