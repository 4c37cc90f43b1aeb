"""Methods that are right, and methods with one mistake each, as published code has been found with."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import (
    Batch,
    DatasetInfo,
    Embeddings,
    FeatureQueue,
    Method,
    MomentumEncoder,
    Recipe,
    Step,
    Training,
    Unsupported,
    View,
    info_nce,
    nt_xent,
    setting,
)

DIM = 16  # of the features of the small backbones


class Plain(Method):
    """Pull two views together."""

    recipe = Recipe(optimizer="sgd", lr=0.1, lr_scaling="none", weight_decay=0, source="a test")

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        return (View(), View())

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {"a": self.backbone(views[0]), "b": self.backbone(views[1])}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"distance": (embeddings["a"] - embeddings["b"]).square().mean()}


class Contrasting(Plain):
    """Tell two views of an image from those of all others."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"contrast": nt_xent(embeddings["a"], embeddings["b"], 0.5)}


class Following(Plain):
    """Predict what a network that follows makes of the other view."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.predictor = nn.Linear(dim, dim)
        self.target: Any = MomentumEncoder(backbone)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {"a": self.predictor(self.backbone(views[0])), "b": self.target(views[1])}

    def after_step(self, step: Step) -> None:
        self.target.update(self.backbone, 0.9)


class ByHand(Following):
    """The same, with a copy that is made and moved by hand."""

    momentum = 0.9

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.rate = self.momentum
        self.target = copy.deepcopy(backbone).requires_grad_(requires_grad=False)

    @torch.no_grad()
    def follow(self) -> None:
        for mine, theirs in zip(self.target.parameters(), self.backbone.parameters(), strict=True):
            mine.mul_(self.rate).add_(theirs, alpha=1 - self.rate)

    def after_step(self, step: Step) -> None:
        self.follow()


# ---- what looks at other images


class Mixing(Plain):
    """Subtract the batch's mean in embed."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: h - h.mean(dim=0) for name, h in super().embed(views, batch).items()}


class MixingInTraining(Mixing):
    """Subtract it where it is trained alone."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return super().embed(views, batch) if self.training else Plain.embed(self, views, batch)


class LossInEmbed(Plain):
    """Compute the loss of each image among the others in embed."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        a, b = super().embed(views, batch).values()
        logits = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
        losses = F.cross_entropy(logits, torch.arange(len(a)), reduction="none")
        return {"a": a, "losses": losses}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"loss": embeddings["losses"].mean()}


class LossOfEmbed(Plain):
    """Compute the loss of the batch in embed."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        embeddings = super().embed(views, batch)
        return {**embeddings, "loss": (embeddings["a"] - embeddings["b"]).square().mean()}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"loss": embeddings["loss"]}


class Leaking(Plain):
    """Let the images of a chunk, and not those of a batch, decide."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: h * len(h) for name, h in super().embed(views, batch).items()}


class OwnNorm(nn.Module):
    """A batch norm that torch does not know as one."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.std(0) + 0.1) if self.training else x


class Normalising(Plain):
    """Have a norm of its own over the batch."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.norm = OwnNorm()

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: self.norm(h) for name, h in super().embed(views, batch).items()}


class Counting(Plain):
    """Keep in embed how often it was called."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls = 0

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        self.calls += 1
        return {name: h / self.calls for name, h in super().embed(views, batch).items()}


# ---- views, terms and gradients


class OneView(Plain):
    """Take the first view twice."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {"a": self.backbone(views[0]), "b": self.backbone(views[0]) + 1}


class OneEmbedding(Plain):
    """Compare the first view with itself."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return super().terms({"a": embeddings["a"], "b": 0.5 * embeddings["a"].detach()}, batch)


class Detached(Plain):
    """Lose the gradient to the backbone."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return super().terms({k: h.detach().requires_grad_() for k, h in embeddings.items()}, batch)


class AllDetached(Plain):
    """Return embeddings without any gradient."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: h.detach() for name, h in super().embed(views, batch).items()}


class Vector(Plain):
    """Return a loss an image."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"distance": (embeddings["a"] - embeddings["b"]).square().mean(dim=1)}


class Infinite(Plain):
    """Take the logarithm of nothing."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {**super().terms(embeddings, batch), "apart": (0 * embeddings["a"]).mean().log()}


class InfiniteLater(Plain):
    """Do so after two steps."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        distance = super().terms(embeddings, batch)["distance"]
        return {"distance": distance / (batch.step.number < 2)}


class Collapsing(Plain):
    """Reward embeddings that are alike: the sign of EMP-SSL's coding rate, turned round."""

    sign = 1.0

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        z = F.normalize(embeddings["a"], dim=1)
        rate = torch.logdet(torch.eye(z.shape[1]) + z.T @ z / len(z))
        return {**super().terms(embeddings, batch), "rate": self.sign * rate}


class Repelling(Plain):
    """Push the views of an image apart."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"cosine": F.cosine_similarity(embeddings["a"], embeddings["b"]).mean()}


class Unused(Plain):
    """Have a head that the loss does not look at."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.head = nn.Linear(dim, 4)


# ---- random numbers


class Restless(Plain):
    """Draw from torch's global state in draw."""

    def draw(self, count: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        return {"mask": torch.rand(count, 4)}


class Noisy(Plain):
    """Draw noise in embed."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: h + 0.1 * torch.randn_like(h) for name, h in super().embed(views, batch).items()}


class Pythonic(Plain):
    """Draw a weight with Python's generator in embed."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        weight = random.random()  # noqa: S311
        return {name: weight * h for name, h in super().embed(views, batch).items()}


class Numeric(Plain):
    """Draw a weight with numpy's generator in terms."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"distance": float(np.random.rand()) * super().terms(embeddings, batch)["distance"]}  # noqa: NPY002


class Entropic(Plain):
    """Draw with a generator of its own, which is another in each run, after a step."""

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        for p in self.backbone.parameters():
            p.add_(float(np.random.default_rng().normal()) / 1000)


class Seeding(Plain):
    """Seed torch in the constructor."""

    def __init__(self, *args: Any) -> None:
        torch.manual_seed(42)
        super().__init__(*args)


class SeedingOthers(Plain):
    """Seed numpy and Python in the constructor."""

    def __init__(self, *args: Any) -> None:
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        super().__init__(*args)


class Hiding(Plain):
    """Keep in the class how many there were."""

    count = itertools.count()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.shift = float(next(self.count))

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        a, b = super().embed(views, batch).values()
        return {"a": a + self.shift, "b": b}


# ---- what is not its own


class ChangingViews(Plain):
    """Centre the views in place."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        views[1].mul_(0.5)
        return super().embed(views, batch)


class ChangingLabels(Plain):
    """Write into the labels."""

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        batch.labels.zero_()


class ChangingEmbeddings(Plain):
    """Centre what it was given in place."""

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        embeddings["a"].sub_(1)


class Evaluating(Plain):
    """Embed the second view in eval mode, and stay in it."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        a = self.backbone(views[0])
        self.backbone.eval()
        return {"a": a, "b": self.backbone(views[1])}


# ---- networks that follow


class Early(Following):
    """Move the copy when the gradient is there, and the step not taken."""

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        self.target.update(self.backbone, 0.9)

    def after_step(self, step: Step) -> None:
        pass


class InEmbed(Following):
    """Move the copy while images are embedded."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        self.target.update(self.backbone, 0.9)
        return super().embed(views, batch)

    def after_step(self, step: Step) -> None:
        pass


class BeforeAndAfter(ByHand):
    """Move the copy before a step, and after it."""

    def before_step(self, step: Step) -> None:
        self.follow()


class Twice(ByHand):
    """Move the copy twice after a step, by hand."""

    def after_step(self, step: Step) -> None:
        self.follow()
        self.follow()


class UpdatedTwice(Following):
    """Move the copy twice after a step."""

    def after_step(self, step: Step) -> None:
        super().after_step(step)
        super().after_step(step)


class Trainable(ByHand):
    """Train the copy as well."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.target.requires_grad_(requires_grad=True)


class NoCopy(ByHand):
    """Follow the backbone by the backbone itself."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.target = self.backbone

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        with torch.no_grad():
            b = self.target(views[1])
        return {"a": self.predictor(self.backbone(views[0])), "b": b}


class Shallow(NoCopy):
    """Copy the module, and not its parameters."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.target = copy.copy(self.backbone)


class FrozenByItself(NoCopy):
    """Freeze the copy that is none."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.target = self.backbone.requires_grad_(requires_grad=False)


class NeverMoved(Following):
    """Forget to move the copy."""

    def after_step(self, step: Step) -> None:
        pass


class Exchanged(ByHand):
    """Take the momentum for the share of the way."""

    @torch.no_grad()
    def follow(self) -> None:
        for mine, theirs in zip(self.target.parameters(), self.backbone.parameters(), strict=True):
            mine.mul_(1 - self.rate).add_(theirs, alpha=self.rate)


class ExportsFirst(Plain):
    """Export the backbone as it was at the start."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.first = copy.deepcopy(backbone).requires_grad_(requires_grad=False)

    def export(self) -> nn.Module:
        return self.first


class Statistical(Plain):
    """Train a head on features that take no gradient: of the backbone, batch norm's statistics alone move."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.head = nn.Linear(dim, dim)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: self.head(h.detach()) for name, h in super().embed(views, batch).items()}


# ---- labels


class Peeking(Plain):
    """Weigh images by their label without saying so."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        weights = 1.0 + batch.labels
        return {"distance": (weights * (embeddings["a"] - embeddings["b"]).square().mean(dim=1)).mean()}


class SameClass(Plain):
    """Take the images of a class for one another's positives, whatever the class is called."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        same = (batch.labels[:, None] == batch.labels).float()
        return {"distance": (same * torch.cdist(embeddings["a"], embeddings["b"])).mean()}


class Remembering(Plain):
    """Weigh the loss by a label of the last step."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.register_buffer("last", torch.zeros(()))

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"distance": (1 + self.last) * super().terms(embeddings, batch)["distance"]}

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        self.last.copy_(batch.labels.float().mean())


class HastyQueue(Following):
    """Fill the queue in terms, before the gradient is there; labels have no part in it."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.queue = FeatureQueue(32, dim)

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        loss = info_nce(embeddings["a"], embeddings["b"], 0.2, self.queue.rows.clone())
        self.queue.enqueue(embeddings["b"])
        return {"contrast": loss}


# ---- state


class Hasty(Plain):
    """Move a centre before the gradient is there."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.register_buffer("centre", torch.zeros(DIM))

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        self.centre.lerp_(embeddings["a"].detach().mean(dim=0), 0.1)
        return super().terms(embeddings, batch)


class PlainFloat(Plain):
    """Keep the scale of earlier losses as a number."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.scale: Any = 1.0

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"distance": super().terms(embeddings, batch)["distance"] / self.scale}

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        self.scale = 0.9 * self.scale + 0.1 * float(embeddings["a"].square().mean())


class PlainTensor(PlainFloat):
    """Keep it as a tensor that is no buffer."""

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        self.scale = 0.9 * self.scale + 0.1 * embeddings["a"].square().mean()


class PlainList(Plain):
    """Keep earlier embeddings in a list."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.memory: list[Tensor] = []

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        near = [(embeddings["a"].mean(dim=0) - kept).square().mean() for kept in self.memory]
        return {"distance": torch.stack([super().terms(embeddings, batch)["distance"], *near]).mean()}

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        self.memory.append(embeddings["a"].mean(dim=0))


class OwnGenerator(Plain):
    """Draw with a generator of its own, which goes on from step to step."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.generator = torch.Generator().manual_seed(0)

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        weight = torch.rand((), generator=self.generator)
        return {"distance": weight * super().terms(embeddings, batch)["distance"]}


class Growing(Plain):
    """Make a buffer longer with each batch."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.register_buffer("memory", torch.zeros(0, DIM))

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        self.memory = torch.cat([self.memory, embeddings["a"]])


class ThawedOnce(Plain):
    """Freeze a head, and thaw it in one step for good."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.head = nn.Linear(dim, dim).requires_grad_(requires_grad=False)

    def before_step(self, step: Step) -> None:
        if step.number == 1:
            self.head.requires_grad_(requires_grad=True)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: self.head(h) for name, h in super().embed(views, batch).items()}


class ThawedByEpoch(ThawedOnce):
    """Freeze a head, and thaw it by the step, which is right."""

    def before_step(self, step: Step) -> None:
        self.head.requires_grad_(requires_grad=step.number >= 1)


class NeverThawed(ThawedOnce):
    """Thaw a head that the loss does not reach."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        with torch.no_grad():
            logits = self.head(self.backbone(views[0]))
        return {**Plain.embed(self, views, batch), "logits": logits}


# ---- other images, networks and precisions


class Red(Plain):
    """Look at the third channel."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: h + views[0][:, 2].mean() * 0 for name, h in super().embed(views, batch).items()}


class Halving(Plain):
    """Compare the halves of a batch."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        first, second = embeddings["a"].chunk(2)
        return {**super().terms(embeddings, batch), "halves": (first - second).square().mean()}


class OfLayers(Plain):
    """Take the backbone for one that has layers."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {"a": self.backbone.layers(views[0]), "b": self.backbone.layers(views[1])}  # type: ignore[operator]


class Filling(Plain):
    """Put features, of whatever precision, into a tensor of float32."""

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        filled = torch.zeros(len(views[0]), DIM)
        projected = F.linear(self.backbone(views[0]), torch.eye(DIM))
        filled[torch.arange(len(filled))] = projected
        return {"a": filled, "b": self.backbone(views[1])}


# ---- what the class says


class Misspelt(Plain):
    """Have a hook that nobody calls."""

    def after_steps(self, step: Step) -> None:
        pass


class Unlabelled(Peeking):
    """Say it in a word that nobody reads."""

    use_labels = True


class Foreign(Plain):
    """Have a hook of another library."""

    def on_train_epoch_end(self) -> None:
        pass


class Listing(Plain):
    """Have a setting that can be changed in place."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        widths: list[int] = field(default_factory=lambda: [1], metadata={"doc": "of it", "source": "a test"})


class Loose(Plain):
    """Have a Config that can be changed and explains nothing."""

    @dataclass
    class Config:
        weight: float = 1.0


class Shrunk(Plain):
    """Say that another network is the result."""

    def export(self) -> nn.Module:
        return nn.Linear(3, 2)


class Unwilling(Plain):
    """Refuse every training."""

    @classmethod
    def check_training(cls, config: Any, training: Training, data: DatasetInfo) -> None:
        raise Unsupported(f"unwilling: not {training.batch_size} of {data.images} images.")


# ---- right, if unusual


class Drawing(Plain):
    """Weigh the distance by a number that is drawn for each loss, of what dropout leaves of embeddings."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(0.3))

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {name: self.head(h) for name, h in super().embed(views, batch).items()}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"distance": torch.rand(()) * super().terms(embeddings, batch)["distance"]}


class Windowed(Plain):
    """Split a batch into windows of 32, of a bank that is filled before the first step."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.register_buffer("bank", torch.zeros(data.images, dim))
        self.register_buffer("scale", torch.ones(()))

    @classmethod
    def check_training(cls, config: Any, training: Training, data: DatasetInfo) -> None:
        if training.batch_size % 32:
            raise Unsupported(f"windowed: {training.batch_size} images are no windows of 32.")

    def first_pass(self, embeddings: Embeddings, batch: Batch) -> None:
        self.bank[batch.index] = embeddings["a"]

    def before_step(self, step: Step) -> None:
        if step.starts_epoch:
            self.scale.copy_(self.bank.norm())

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        a, b = (embeddings[name].unflatten(0, (-1, 32)) for name in ("a", "b"))
        near = (a - self.bank[batch.index].view_as(a)).square().mean(dim=1).sum()
        return {"near": (near + (a - b).square().sum()) / self.scale}

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        self.first_pass(embeddings, batch)


class KeysFirst(ByHand):
    """Move the copy before the keys are made, as MoCo does, in eval mode, and cache what is constant."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.weights: Tensor | None = None
        self.steps = 0

    def before_step(self, step: Step) -> None:
        self.target.eval()
        self.follow()
        self.steps = step.number

    def after_step(self, step: Step) -> None:
        pass

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        if self.weights is None:
            self.weights = torch.linspace(0.5, 1.5, embeddings["a"].shape[1])
        apart = (embeddings["a"] - embeddings["b"]).square()
        return {"distance": (self.weights * apart).mean()}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"same_class": (batch.labels[:, None] == batch.labels).float().mean()}


class Stopping(Plain):
    """Keep the backbone under another name as well, and stop the gradient of one view."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.predictor = nn.Linear(dim, dim)
        self.encoder = nn.Sequential(backbone)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        a = self.predictor(self.encoder(views[0]))
        with torch.no_grad():
            b = self.encoder(views[1])
        return {"features": b, "a": a, "b": b}


class TwoMomenta(Following):
    """Follow by a momentum of 0.98, beside a momentum of 0.99 that is for something else."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.momentum, self.centre_momentum = 0.98, 0.99

    def after_step(self, step: Step) -> None:
        self.target.update(self.backbone, self.momentum)


class Calling(Plain):
    """Call its own functions by the names of their arguments."""

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"again": self.terms(embeddings=embeddings, batch=batch)["distance"]}


class Renamed(Stopping):
    """Have the backbone and the head under one name."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.trained = nn.Sequential(backbone, self.predictor)


class Centring(Mixing):
    """Need the whole batch in embed, and say so."""

    one_device = True

    @classmethod
    def check_training(cls, config: Any, training: Training, data: DatasetInfo) -> None:
        if training.chunk_size is not None:
            raise Unsupported("centring: it needs the whole batch. Leave train.chunk_size out.")


class Forking(Plain):
    """Seed random numbers of its own in the constructor, and leave those that all share."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.register_buffer("directions", torch.randn(dim, dim))


class Masked(Plain):
    """Predict hidden cells of one view from an image of which they are left out, by masks that are drawn."""

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        return (View(),)

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.decoder = nn.Linear(dim, 16)

    def draw(self, count: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        return {"mask": torch.rand(count, 16, generator=generator) < 0.5}

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        cells = F.adaptive_avg_pool2d(views[0].mean(dim=1, keepdim=True), 4).flatten(1)
        hidden = batch.draws["mask"].float().view(-1, 1, 4, 4)
        features = self.backbone(views[0] * (1 - F.interpolate(hidden, views[0].shape[2:])))
        return {"features": features, "errors": (self.decoder(features) - cells).square()}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        mask = batch.draws["mask"]
        return {"reconstruction": (embeddings["errors"] * mask).sum() / mask.sum()}


class Spreading(Collapsing):
    """Spread embeddings by their coding rate, with the sign that is right."""

    sign = -1.0


class Amplifying(Plain):
    """Make of what is next to nothing something else."""

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"waves": (1e6 * super().terms(embeddings, batch)["distance"]).sin()}


class Weighted(Contrasting):
    """Have a setting of several numbers, and a helper that is like a name of the contract."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        weights: tuple[float, ...] = setting((1.0, 0.5), "of two temperatures", source="a test", above=0)

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.config = config

    def term(self, embeddings: Embeddings, temperature: float) -> Tensor:
        return nt_xent(embeddings["a"], embeddings["b"], temperature)

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {
            f"at_{t:g}": weight * self.term(embeddings, t)
            for t, weight in zip((0.2, 1.0), self.config.weights, strict=True)
        }
