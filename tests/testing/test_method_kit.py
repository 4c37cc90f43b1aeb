"""The conformance kit finds what a method does wrong, says what mends it, and blames no other part."""

from __future__ import annotations

import re
from typing import Any

import pytest
import wrong_methods as methods
from torch import Tensor, nn

from bench.api import BackboneInfo, BadValue, DatasetInfo, Method, Recipe, Unsupported
from bench.testing import Outcome, check, check_method
from bench.testing.checks import run
from bench.testing.methods import list_checks
from bench.testing.networks import CHANNELS, Convolution
from bench.testing.subject import SMALL, Network

PER_SAMPLE = "embed() is per sample: in chunks it equals the whole"
TERMS = "terms() returns finite scalars, and changes nothing that is kept"
VIEWS = "every view counts"
TRAINS = "it trains for 4 steps, and its monitors are finite"
GREY = "it trains on grey images, in batches of an odd number"
INPUTS = "views, batches and embeddings are left as they are"
RANDOM = "random numbers are the harness's"
FOLLOWS = "a network that follows is a copy, and moves once a step and after it"
LABELS = "labels are not looked at, unless uses_labels says so"
RESUMED = "a training that was stopped goes on to the same numbers"
CHUNKS = "train.chunk_size changes neither its steps nor what it keeps"
TWO = "two processes train as one does"
LINE = "the loss is not lower where all embeddings lie on a line"
NAMES = "no name is one of the contract's, misspelt"
BUILDS = "it builds, and keeps its backbone as self.backbone"
GRADIENT = "the gradient reaches the backbone"

MISTAKES = [
    (methods.Mixing, PER_SAMPLE, r"a of an image depends on the other images.*terms\(\)"),
    (methods.MixingInTraining, PER_SAMPLE, "depends on the other images"),
    (methods.LossInEmbed, PER_SAMPLE, "losses of an image depends on the other images, as a loss"),
    (
        methods.LossOfEmbed,
        "embed() returns named embeddings, a row an image",
        r"loss has shape \(\).*terms\(\)",
    ),
    (methods.Leaking, PER_SAMPLE, "depends on the other images"),
    (methods.Leaking, CHUNKS, "nor use how many images it gets"),
    (methods.Normalising, TWO, "but for torch's own batch norm"),
    (methods.Counting, CHUNKS, r"in chunks, loss of epoch 1 is .*it may keep nothing"),
    (
        methods.Counting,
        "embed() may be called again: it changes nothing but batch norm",
        "differs the second time",
    ),
    (
        methods.OneView,
        VIEWS,
        r"does not look at views\[1\] of 2, which views\(\) asks for: is another one used twice",
    ),
    (methods.OneEmbedding, VIEWS, r"no term depends on views\[1\]"),
    (methods.Detached, GRADIENT, "zero everywhere"),
    (methods.AllDetached, GRADIENT, r"no term has one: is everything detached, or made under no_grad\(\)"),
    (methods.Vector, TERMS, r"terms\(\): distance has shape \(8,\); return a scalar"),
    (methods.Infinite, TERMS, "apart is -inf"),
    (methods.InfiniteLater, TRAINS, r"the loss became .* at step 3 \(distance (inf|nan)\)"),
    (methods.Collapsing, LINE, "sign of a term wrong"),
    (
        methods.Repelling,
        "the loss is higher where views are of other images",
        "falls from .* sign of a term wrong",
    ),
    (
        methods.Unused,
        "every parameter is trained, or frozen",
        "no gradient ever comes to head.weight, head.bias",
    ),
    (methods.NeverThawed, "every parameter is trained, or frozen", "no gradient ever comes to head.weight"),
    (
        methods.Restless,
        "draw() returns rows on the CPU, the same from the same generator",
        "generator that is given",
    ),
    (methods.Noisy, "embed() draws nothing by itself", r"Draw them in draw\(\)"),
    (methods.Pythonic, RANDOM, r"embed\(\) draws from Python's random.*Draw in draw\(\)"),
    (methods.Numeric, RANDOM, r"terms\(\) draws from numpy's random.*Draw with torch"),
    (methods.Entropic, RANDOM, "trained again from the same seed, loss of epoch 1 is"),
    (methods.Hiding, RANDOM, "trained again from the same seed.*keep nothing in the class"),
    (methods.ChangingViews, INPUTS, r"embed\(\) changes views\[1\] in place"),
    (methods.ChangingLabels, INPUTS, r"after_batch\(\) changes batch.labels in place"),
    (methods.ChangingEmbeddings, INPUTS, r"after_batch\(\) changes embeddings\['a'\] in place"),
    (methods.Evaluating, "the backbone is left in its mode", r"embed\(\) leaves backbone in eval mode"),
    (
        methods.Early,
        FOLLOWS,
        r"after_batch\(\) moves target\.\S+ towards backbone\.\S+: before the optimiser's step",
    ),
    (methods.InEmbed, FOLLOWS, r"embed\(\) moves target.*after_step\(\)"),
    (methods.BeforeAndAfter, FOLLOWS, r"is moved in after_step and in before_step. Move it once"),
    (methods.Twice, FOLLOWS, "is moved twice in after_step.*where a momentum of 0.9 is 0.1"),
    (methods.UpdatedTwice, FOLLOWS, r"target.update\(\) is called twice in a step"),
    (methods.Trainable, FOLLOWS, r"trained by gradient as well. Freeze it"),
    (methods.NoCopy, FOLLOWS, "self.target shares its parameters with self.backbone: it is no copy"),
    (methods.Shallow, FOLLOWS, "self.target shares its parameters with self.backbone"),
    (
        methods.FrozenByItself,
        GRADIENT,
        r"is frozen. Is self.backbone itself a network",
    ),
    (methods.NeverMoved, FOLLOWS, r"target.update\(\) is never called: it stays what it was"),
    (
        methods.Exchanged,
        FOLLOWS,
        "is moved by 0.9 of the way, where a momentum of 0.9 is 0.1: m and 1 - m have changed places",
    ),
    (methods.ExportsFirst, TRAINS, r"what export\(\) returns is what it was at the start"),
    (methods.Statistical, TRAINS, "self.backbone is what it was at the start"),
    (methods.Seeding, BUILDS, "its constructor seeds torch's random numbers"),
    (methods.SeedingOthers, BUILDS, "its constructor seeds numpy's and Python's random numbers"),
    (methods.Peeking, LABELS, "with other labels.*Set uses_labels = True"),
    (methods.SameClass, LABELS, "with other labels, of which other images have one"),
    (methods.Remembering, LABELS, "with other labels.*all that is kept of them"),
    (methods.HastyQueue, TERMS, r"queue.rows.* changed before the gradient was there; use after_batch\(\)"),
    (methods.Hasty, TERMS, r"centre changed before the gradient was there; use after_batch\(\)"),
    (
        methods.PlainFloat,
        RESUMED,
        "loss of epoch 2 is .*self.scale is a float, which no checkpoint has.*register_buffer",
    ),
    (methods.PlainTensor, RESUMED, "self.scale is a plain tensor"),
    (methods.PlainList, RESUMED, "self.memory is a list"),
    (methods.OwnGenerator, RESUMED, "self.generator is a random generator"),
    (methods.Growing, RESUMED, "its checkpoint cannot be loaded into a new one.*in the constructor"),
    (methods.ThawedOnce, RESUMED, r"head.bias, head.weight takes a gradient in one of both.*before_step\(\)"),
    (methods.Red, GREY, "IndexError"),
    (methods.Halving, GREY, "RuntimeError"),
    (methods.OfLayers, "it trains on a small ViT", "AttributeError.*layers"),
    (methods.Filling, "it trains in bfloat16", "dtypes match"),
    (methods.Misspelt, NAMES, "after_steps is never asked for; is it meant to be after_step"),
    (methods.Unlabelled, NAMES, "use_labels is never asked for; is it meant to be uses_labels"),
    (methods.Foreign, NAMES, "on_train_epoch_end is never called; there are after_batch, after_step"),
    (methods.Listing, "no setting can be changed in place", "widths is a list.*Use a tuple"),
    (methods.Loose, "Config is a frozen, keyword-only dataclass", "frozen=True, kw_only=True"),
    (methods.Loose, "every setting has a meaning and a source", "weight: declare it with"),
    (methods.Shrunk, "export() is a network like its backbone", "other names or shapes"),
    (
        methods.Unwilling,
        "check_training() accepts a batch of 8 to 512 of 4096 images",
        "not 512 of 4096 images",
    ),
]

UNUSUAL = [methods.Drawing, methods.Windowed, methods.KeysFirst, methods.Stopping, methods.Masked]
MORE = [
    methods.Contrasting,
    methods.Spreading,
    methods.Weighted,
    methods.ThawedByEpoch,
    methods.TwoMomenta,
    methods.Calling,
    methods.Renamed,
    methods.Forking,
]  # a check each is quick


def outcome_of(cls: type[Method], title: str, networks: tuple[Network, ...] = SMALL) -> Outcome:
    """Return what comes of one check, and of those it needs."""
    (body,) = [body for name, body in list_checks(cls, "it", networks=networks) if name == title]
    (outcome,) = run([(title, body)])
    return outcome


@pytest.mark.parametrize(("cls", "title", "message"), MISTAKES)
def test_a_mistake_is_told_with_what_mends_it(cls: type[Method], title: str, message: str) -> None:
    outcome = outcome_of(cls, title)

    assert outcome.state == "FAILED"
    assert re.search(message, outcome.error or ""), outcome.error


@pytest.mark.parametrize("cls", [*UNUSUAL, *(pytest.param(cls, marks=pytest.mark.long) for cls in MORE)])
def test_what_is_unusual_and_right_passes(cls: type[Method]) -> None:
    check_method(cls, "unusual")


@pytest.mark.parametrize(
    ("cls", "title"),
    [
        (methods.HastyQueue, LABELS),  # what is kept from step to step is no label
        (methods.HastyQueue, RESUMED),
        (methods.Noisy, LABELS),
        (methods.Peeking, RESUMED),
        (methods.Peeking, TWO),
        (methods.PlainFloat, LABELS),
        (methods.PlainFloat, RANDOM),
        (methods.Trainable, RESUMED),
        (methods.Mixing, LABELS),
        (methods.Early, LABELS),
        (methods.Spreading, LINE),  # its sign is right
        (methods.Weighted, NAMES),  # a helper is called as one of the contract, but for a letter
        (methods.ThawedByEpoch, RESUMED),
        (methods.TwoMomenta, FOLLOWS),
        (methods.Calling, FOLLOWS),
        (methods.Renamed, FOLLOWS),
        (methods.Forking, BUILDS),
        (methods.NeverMoved, TRAINS),
    ],
)
def test_a_mistake_is_not_taken_for_another(cls: type[Method], title: str) -> None:
    assert outcome_of(cls, title).state == "ok"


class Keyed(Convolution):
    """Have a layer that is called as networks that follow are."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__(channels)
        self.key = nn.Linear(self.dim, self.dim)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (n, dim)."""
        features: Tensor = self.key(super().forward(images))
        return features


@pytest.mark.parametrize(("cls", "state"), [(methods.Renamed, "ok"), (methods.NoCopy, "FAILED")])
def test_the_name_of_a_layer_of_the_backbone_makes_no_network_one_that_follows(
    cls: type[Method], state: str
) -> None:
    assert outcome_of(cls, FOLLOWS, (Network("keyed", Keyed),)).state == state


@pytest.mark.parametrize(
    ("title", "why"),
    [
        (PER_SAMPLE, "one_device and check_training() say that it needs the whole batch"),
        (CHUNKS, "centring: it needs the whole batch. Leave train.chunk_size out."),
        (TWO, "one_device says that it trains on one"),
    ],
)
def test_what_needs_the_whole_batch_and_says_so_is_not_asked_to_do_with_a_part(title: str, why: str) -> None:
    assert outcome_of(methods.Centring, title).skipped == why
    assert outcome_of(methods.Mixing, title).skipped is None


@pytest.mark.parametrize("title", [LINE, "the loss is higher where views are of other images"])
def test_without_any_gradient_the_loss_of_made_embeddings_is_not_asked_for(title: str) -> None:
    assert outcome_of(methods.AllDetached, title).skipped == (
        "no embedding has a gradient, as an earlier check has it"
    )


@pytest.mark.parametrize("title", [LABELS, RESUMED])
def test_where_no_training_is_like_another_nothing_else_is_blamed_for_it(title: str) -> None:
    outcome = outcome_of(methods.Hiding, title)

    assert outcome.state == "skipped"
    assert "differ already" in str(outcome.skipped)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"optimizer": "adam"}, "'adam' is not one of its values.*adamw"),
        ({"lr_scaling": "lin"}, "'lin' .*linear"),
    ],
)
def test_a_recipe_of_names_that_there_are_not_is_refused_when_it_is_made(
    setting: dict[str, str], message: str
) -> None:
    values = {"optimizer": "sgd", "lr": 0.1, "lr_scaling": "none", "weight_decay": 0.0, "source": "a test"}

    with pytest.raises(BadValue, match=message):
        Recipe(**{**values, **setting})  # type: ignore[arg-type]


def test_where_a_training_makes_much_of_rounding_that_is_said_and_nobody_blamed() -> None:
    outcome = outcome_of(methods.Amplifying, TWO)

    assert outcome.state == "skipped"
    assert "begin 1e-5 off: on a convolutional net this training makes much of rounding" in str(
        outcome.skipped
    )


def test_what_cannot_be_made_fails_once_and_what_needs_it_is_left_out() -> None:
    outcomes = list(check("methods", methods.Unwilling, "unwilling"))
    failed = [outcome.name for outcome in outcomes if outcome.state == "FAILED"]
    skipped = [outcome.skipped for outcome in outcomes if outcome.state == "skipped"]

    assert failed == ["check_training() accepts a batch of 8 to 512 of 4096 images"]
    assert len(skipped) > 20
    assert set(skipped) == {"what it needs is not there, for a reason that an earlier check has"}


def test_a_network_that_is_refused_is_listed_with_the_reason() -> None:
    class OfPatches(methods.Plain):
        """Need patches."""

        @classmethod
        def check(cls, config: Any, backbone: BackboneInfo, data: DatasetInfo, image_size: int) -> None:
            if backbone.grid is None:
                raise Unsupported("of-patches: there are none.")

    refused = outcome_of(OfPatches, "it trains on a convolutional net")

    assert refused.skipped == "of-patches: there are none."
    assert outcome_of(OfPatches, "it trains on a small ViT").state == "ok"
