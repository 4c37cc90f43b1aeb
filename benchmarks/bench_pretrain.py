"""Time of pretraining: against bare steps, against float32, and against other libraries where they are there.

A bare step embeds prepared views, takes the loss, goes back and lets the optimiser step, with the same
optimiser, precision and layout. What an epoch takes more is shuffling, views, the schedule, progress and
monitors.

The others train a resnet18 with the ImageNet stem by SimCLR on the same images in batches of 256, as we do,
each as it comes: see `Lightly` and `SoloLearn`. What loads their data works in this process, so that its time
counts, too. Ours is in the precision that `auto` chooses; theirs in float32, which is their default.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from side_by_side import side_by_side
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18

from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch
from bench.contracts.recipe import Training
from bench.pretraining.loop import TrainingLoop
from bench.pretraining.step import DTYPES
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry
from bench.system.device import auto_precision
from bench.system.progress import Progress

STEPS, BATCH, CPU = 4, 256, torch.device("cpu")


def pixels_of(steps: int) -> Tensor:
    """Return random images, as many as so many steps take."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (steps * BATCH, 3, 32, 32), dtype=torch.uint8, generator=generator)


def loop_of(name: str, folder: Path, steps: int = STEPS, precision: str = "auto") -> TrainingLoop:
    """Return a run on random images, of so many steps an epoch."""
    torch.set_num_threads(1)
    images = Images(pixels_of(steps), torch.arange(steps * BATCH) % 10)
    registry, info = Registry.load(), DatasetInfo(classes=tuple("abcdefghij"), channels=3, size=32)
    backbones: Any = registry.load_class("backbones", "resnet18")
    methods: Any = registry.load_class("methods", name)
    backbone = backbones("resnet18", backbones.Config(stem="standard"), 3, 32)
    method = methods(backbone, backbone.dim, methods.Config(), info).train()
    training = Training(
        epochs=100, batch_size=BATCH, image_size=32, optimizer="lars", lr=0.1, weight_decay=1e-6,
        momentum=0.9, warmup_epochs=1.0, precision=auto_precision(CPU) if precision == "auto" else precision,
    )  # fmt: skip
    run = TrainingRun(
        what="bench", key="key",
        training=training, views=methods.views(methods.Config(), info, 32), mean=(0.5,) * 3,
        std=(0.25,) * 3, seed=0, device=CPU, folder=folder,
    )  # fmt: skip
    return TrainingLoop(method, images, run)


def bare_steps(loop: TrainingLoop, views: list[Tensor]) -> None:
    """Take as many steps as an epoch has, on one batch of views that is there already."""
    method, optimizer = loop.method, loop.stepper.optimizer
    dtype = DTYPES.get(loop.run.training.precision)
    batch = Batch(torch.arange(BATCH), torch.zeros(BATCH, dtype=torch.int64))
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            embeddings = method.embed(views, batch)
        terms = method.terms({name: z.float() for name, z in embeddings.items()}, batch)
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()


def epoch_of(loop: TrainingLoop) -> Callable[[], Any]:
    """Return what trains for an epoch and says nothing."""
    silent = Progress("", 100, 100 * len(loop.images), out=io.StringIO())
    return lambda: loop.epoch(0, silent)


@pytest.mark.parametrize("method", ["simclr", "vicreg"])
def test_pretraining(benchmark: Any, tmp_path: Path, method: str) -> None:
    """Train for an epoch, and take as many bare steps."""
    loop = loop_of(method, tmp_path)
    views = [torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last) for _ in range(2)]
    side_by_side(
        benchmark,
        epoch_of(loop),
        lambda: bare_steps(loop, views),
        what=f"speed of {method} on resnet18 at 32 px, against bare steps",
        goal="at least 0.95",
        rounds=5,
        faster=True,
    )


def test_auto_precision(benchmark: Any, tmp_path: Path) -> None:
    """Train for an epoch in what `precision=auto` chooses here, and in float32."""
    chosen = auto_precision(CPU)
    side_by_side(
        benchmark,
        epoch_of(loop_of("simclr", tmp_path, steps=2)),
        epoch_of(loop_of("simclr", tmp_path, steps=2, precision="float32")),
        what=f"speed of simclr on resnet18 at 32 px in {chosen}, which `auto` is here, against float32",
        goal="at least 1",
        faster=True,
    )


class Pictures(Dataset[Any]):
    """Random images as torchvision's data sets have them: an array each, an image when it is asked for.

    Args:
        count: of images.
        transform: makes of an image its views.
    """

    def __init__(self, count: int, transform: Callable[[Any], Any]) -> None:
        self.data, self.transform = pixels_of(count // BATCH).permute(0, 2, 3, 1).numpy(), transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.data[place])), place % 10


class Lightly:
    """The SimCLR of lightly's documentation: its transform, head and loss in a plain loop, SGD.

    Source: lightly-ai/lightly examples/pytorch/simclr.py, which is for CIFAR-10.
    """

    def __init__(self, steps: int) -> None:
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead
        from lightly.transforms import SimCLRTransform

        images = Pictures(steps * BATCH, SimCLRTransform(input_size=32))
        self.loader = DataLoader(images, batch_size=BATCH, shuffle=True, drop_last=True)
        backbone = nn.Sequential(*list(resnet18().children())[:-1], nn.Flatten())
        self.model = nn.Sequential(backbone, SimCLRProjectionHead(512, 512, 128))
        self.criterion = NTXentLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.06)

    def epoch(self) -> None:
        for (x0, x1), _ in self.loader:
            loss = self.criterion(self.model(x0), self.model(x1))
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()


class SoloLearn:
    """The SimCLR of solo-learn 1.0.2, as far as it can be imported: transforms, loss and LARS are its own.

    Its methods need releases of other packages that do not run on this torch. What they do in a step is
    written down here: a pass a view, and a linear classifier on features without gradient.

    Source: solo-learn 1.0.2, solo/methods/base.py, solo/methods/simclr.py.
    """

    def __init__(self, steps: int) -> None:
        data, loss, lars = (
            solo_learn(name) for name in ("utils/pretrain_dataloader", "losses/simclr", "utils/lars")
        )
        jitter = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
        transform = data.prepare_n_crop_transform([data.prepare_transform("cifar10", **jitter)], [2])
        self.loader = DataLoader(Pictures(steps * BATCH, transform), BATCH, shuffle=True, drop_last=True)
        self.loss = loss.simclr_loss_func
        self.encoder = resnet18()
        self.encoder.fc = nn.Identity()
        self.projector = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 128))
        self.classifier = nn.Linear(512, 10)
        parts = (self.encoder, self.projector, self.classifier)
        groups = [{"params": part.parameters()} for part in parts]
        sgd = torch.optim.SGD(groups, lr=0.3, weight_decay=1e-4, momentum=0.9)
        self.optimizer = lars.LARSWrapper(sgd, eta=0.02, clip=True, exclude_bias_n_norm=True)

    def epoch(self) -> None:
        for views, labels in self.loader:
            features = [self.encoder(x) for x in views]
            known = [F.cross_entropy(self.classifier(x.detach()), labels) for x in features]
            loss = self.loss(*map(self.projector, features), temperature=0.2) + sum(known) / len(known)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def solo_learn(name: str) -> Any:
    """Return a module of solo-learn by its path, without the package around it."""
    package = importlib.util.find_spec("solo")
    spec = importlib.util.spec_from_file_location(name, Path(package.origin).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PEERS = {"lightly": ("lightly 1.6's plain loop", Lightly, 2.2), "solo": ("solo-learn 1.0.2", SoloLearn, 1)}
THERE = [name for name in PEERS if importlib.util.find_spec(name)]


@pytest.mark.filterwarnings("ignore")  # the others' own
@pytest.mark.parametrize("name", THERE)
def test_against_another_library(benchmark: Any, tmp_path: Path, name: str) -> None:
    """Train for two steps, and let another library train for as many."""
    called, build, goal = PEERS[name]
    side_by_side(
        benchmark,
        epoch_of(loop_of("simclr", tmp_path, steps=2)),
        build(steps=2).epoch,
        what=f"speed of simclr on resnet18 at 32 px, against {called}",
        goal=f"at least {goal}",
        faster=True,
    )
