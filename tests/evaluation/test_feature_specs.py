"""Features of the last blocks: which numbers they are, their keys, and who cannot have them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import Lab
from torch import Tensor

from bench.api import Backbone, BackboneInfo, BadValue, FeatureSpec, Tokens, Unsupported
from bench.evaluation import features
from bench.registry.registry import Registry

Timm = Registry.load().load_class("backbones", "test_vit")
BLOCKS = {"knn.blocks": 2}


def build(name: str) -> Any:
    torch.manual_seed(0)
    return Timm(name, Timm.Config(), 3, 32).eval()


def sample_images() -> Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def read_by_hand(backbone: Any, pool: str, count: int) -> Tensor:
    """Return what DINO's evaluation reads: timm's own interface to its blocks, and its concatenation."""
    outputs = backbone.net.get_intermediate_layers(
        sample_images(), n=count, return_prefix_tokens=True, norm=True
    )
    if pool == "mean":
        return torch.cat([patches.mean(1) for patches, _ in outputs], 1)
    classes = torch.cat([prefix[:, 0] for _, prefix in outputs], 1)
    return classes if pool == "class" else torch.cat((classes, outputs[-1][0].mean(1)), 1)


# ---- what is read


@pytest.mark.parametrize(
    ("pool", "count", "dim"),
    [
        ("class", 4, 4 * 64),
        ("class", 1, 64),
        ("mean", 3, 3 * 64),
        ("class+mean", 1, 128),
        ("class+mean", 4, 320),
    ],
)
@torch.no_grad()
def test_blocks_of_a_transformer_are_read_as_in_dinos_evaluation(pool: Any, count: int, dim: int) -> None:
    backbone = build("test_vit")
    found = FeatureSpec(blocks=count, pool=pool).read(backbone, sample_images())

    assert found.shape == (3, dim)
    assert torch.allclose(found, read_by_hand(backbone, pool, count), atol=1e-5)


@torch.no_grad()
def test_stages_of_a_convolutional_network_are_averaged_over_their_maps() -> None:
    backbone = build("resnet18")
    found = FeatureSpec(blocks=2, pool="mean").read(backbone, sample_images())

    assert found.shape == (3, 256 + 512)
    assert torch.allclose(found[:, 256:], backbone(sample_images()), atol=1e-5)


@torch.no_grad()
def test_without_blocks_the_backbone_is_asked_as_ever() -> None:
    backbone = build("test_vit")

    assert torch.equal(FeatureSpec().read(backbone, sample_images()), backbone(sample_images()))


def test_a_pass_over_images_reads_the_blocks_that_are_asked_for() -> None:
    backbone, spec = build("test_vit"), FeatureSpec(blocks=2, pool="mean")
    pixels = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    options: dict[str, Any] = {"image_size": 32, "channels": 3, "device": torch.device("cpu")}
    rows = features.extract(backbone, pixels, mean=(0.0,) * 3, std=(1.0,) * 3, spec=spec, **options)
    with torch.no_grad():
        expected = spec.read(backbone, pixels / 255)

    assert torch.allclose(torch.cat(list(rows)), expected, atol=1e-5)


# ---- who cannot have them


@pytest.mark.parametrize(
    ("spec", "info", "reason"),
    [
        (
            FeatureSpec(blocks=4),
            BackboneInfo(),
            r"4 blocks are asked for, but it offers 0\. Set fewer",
        ),
        (FeatureSpec(blocks=4), BackboneInfo(blocks=3, class_token=True), "but it offers 3"),
        (
            FeatureSpec(blocks=1),
            BackboneInfo(blocks=5),
            r"no class token, .* pool=class .*Set pool to",
        ),
        (FeatureSpec(blocks=1, pool="class+mean"), BackboneInfo(blocks=5), r"pool=class\+mean"),
    ],
)
def test_a_backbone_without_them_is_refused(spec: FeatureSpec, info: BackboneInfo, reason: str) -> None:
    with pytest.raises(Unsupported, match=f"^net: .*{reason}"):
        spec.check("net", info)


def test_a_backbone_that_has_them_is_not_refused() -> None:
    FeatureSpec().check("net", BackboneInfo())
    FeatureSpec(blocks=3, pool="mean").check("net", BackboneInfo(blocks=3))
    FeatureSpec(blocks=2, pool="class+mean").check("net", BackboneInfo(blocks=3, class_token=True))


def test_a_cell_whose_backbone_has_them_not_is_skipped_while_planning(lab: Lab) -> None:
    cells = lab.plan(BLOCKS, backbone=("test_vit", "test_resnet"))

    assert [cell.skip for cell in cells] == [
        None,
        "knn on test_resnet: it has no class token, which pool=class is about. Set pool to mean.",
    ]


def test_pixels_have_no_blocks(lab: Lab) -> None:
    cells = lab.plan(BLOCKS, method=("random", "pixels"), backbone="test_vit")

    assert cells[0].skip is None
    assert cells[1].skip is not None
    assert cells[1].skip.startswith("knn on pixels: the outputs of 2 blocks are asked for, but it offers 0.")


def test_a_pooling_without_blocks_is_refused(lab: Lab) -> None:
    with pytest.raises(BadValue, match=r"pool is mean, but no blocks are read\. Set the evaluator's blocks"):
        lab.plan({"knn.pool": "mean"})


# ---- keys


@pytest.mark.parametrize("name", ["knn", "linear", "mlp", "label-fraction"])
def test_other_features_have_other_keys_and_the_usual_ones_keep_theirs(lab: Lab, name: str) -> None:
    axes, blocks_setting = {"backbone": "test_vit", "evaluator": name}, {f"{name}.blocks": 2}
    (usual,) = lab.plan(**axes)
    (blocks,) = lab.plan(blocks_setting, **axes)
    (mean,) = lab.plan({**blocks_setting, f"{name}.pool": "mean"}, **axes)
    keys = [cell.keys for cell in (usual, blocks, mean)]

    assert len({key.backbone for key in keys}) == 1
    assert len({key.features["test"] for key in keys}) == 3
    assert len({key.score for key in keys}) == 3
    assert FeatureSpec().key_fields() == {}


def test_evaluators_that_ask_for_the_same_blocks_share_them(lab: Lab) -> None:
    settings = {"knn.blocks": 2, "linear.blocks": 2, "mlp.blocks": 2, "label-fraction.blocks": 2}
    cells = lab.plan(settings, backbone="test_vit", evaluator=("knn", "linear", "mlp", "label-fraction"))

    assert len({cell.keys.features["train"] for cell in cells}) == 1


# ---- a run


def test_a_run_scores_blocks_of_one_backbone_beside_its_pooled_features(lab: Lab) -> None:
    cells = [*lab.plan(backbone="test_vit"), *lab.plan({**BLOCKS, "knn.pool": "mean"}, backbone="test_vit")]
    pooled, blocks = lab.run(cells)
    widths = [features.load(lab.artifact(cell.keys.features["test"])).x.shape[1] for cell in cells]

    assert (pooled["status"], blocks["status"]) == ("ok", "ok")
    assert widths == [64, 128]
    assert pooled["keys"]["backbone"] == blocks["keys"]["backbone"]
    assert "layer" not in pooled["protocol"]
    assert blocks["protocol"]["layer"] == "mean of each of the last 2 blocks"


def test_every_probe_of_features_works_on_blocks(lab: Lab) -> None:
    names = ("linear", "mlp", "label-fraction")
    settings: dict[str, Any] = {f"{name}.blocks": 1 for name in names}
    settings |= {f"{name}.pool": "class+mean" for name in names}
    settings |= {"mlp.epochs": 1, "label-fraction.fractions": ((1.0,),), "label-fraction.draws": ((1,),)}
    records = lab.run(lab.plan(settings, backbone="test_vit", evaluator=names))
    layer = "class token of the last block, and mean over the last one's patches"

    assert [record["status"] for record in records] == ["ok"] * 3
    assert {record["protocol"]["layer"] for record in records} == {layer}
    top1 = records[0]["metrics"]["top1"]["value"]
    assert records[1]["metrics"]["linear_top1"]["value"] == top1
    assert records[2]["metrics"]["top1_at_100"]["value"] == top1


def test_an_evaluator_that_has_the_backbone_may_read_its_tokens(lab: Lab, probing: Lab, probes: Any) -> None:
    probing.run(probing.plan(backbone="test_vit", evaluator="norm"))
    network = probes.SEEN[0].network
    backbone: Backbone = network.backbone()
    with torch.no_grad():
        tokens = backbone.tokens(network.clean(network.test.pixels[:4]))
        (block,) = backbone.blocks(network.clean(network.test.pixels[:4]), 1)

    assert isinstance(block, Tokens)
    assert tokens.patches.shape == (4, 64, 64)
    assert torch.allclose(block.patches, tokens.patches, atol=1e-5)
