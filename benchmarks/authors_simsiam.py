"""Train SimSiam as its authors' code does, in plain PyTorch, to compare what it learns with the plugin.

`python benchmarks/authors_simsiam.py FOLDER weights.pth` trains on the images of FOLDER/train/CLASS, and
`bench run --method random --set backbone.weights=weights.pth` evaluates the network like any other.

Follows facebookresearch/simsiam simsiam/builder.py and main_simsiam.py, with appendix D of the paper for
small images: two layers of projector, no blur, 0.03 for 256 images, weight decay 5e-4. It uses nothing of
bench.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

BATCH, SIDE, DIM, HIDDEN = 256, 32, 2048, 512
LR, DECAY = 0.03 * BATCH / 256, 5e-4
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10
AUGMENT = transforms.Compose(
    [
        transforms.RandomResizedCrop(SIDE, scale=(0.2, 1.0)),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
)


def build() -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return the network, the projector and the predictor."""
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    projector = nn.Sequential(
        nn.Linear(512, DIM, bias=False), nn.BatchNorm1d(DIM), nn.ReLU(),
        nn.Linear(DIM, DIM, bias=False), nn.BatchNorm1d(DIM, affine=False),
    )  # fmt: skip
    predictor = nn.Sequential(
        nn.Linear(DIM, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIM)
    )
    return network, projector, predictor


def load(folder: Path) -> list[Image.Image]:
    """Return all training images."""
    dataset = torchvision.datasets.ImageFolder(str(folder / "train"))
    return [image for image, _ in dataset]


def draw(images: list[Image.Image], rows: Tensor) -> Tensor:
    """Return a view of each image: (n, 3, 32, 32)."""
    return torch.stack([AUGMENT(images[row]) for row in rows.tolist()])


def train(images: list[Image.Image], epochs: int) -> nn.Module:
    """Return the network after so many epochs; each is reported with its loss."""
    network, projector, predictor = build()
    groups = [
        {"params": [*network.parameters(), *projector.parameters()], "fixed": False},
        {"params": list(predictor.parameters()), "fixed": True},
    ]
    optimizer = torch.optim.SGD(groups, LR, momentum=0.9, weight_decay=DECAY)
    similarity = nn.CosineSimilarity(dim=1)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = LR if group["fixed"] else LR * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        losses, spreads = [], []
        order = torch.randperm(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            z1, z2 = (projector(network(draw(images, rows))) for _ in range(2))
            p1, p2 = predictor(z1), predictor(z2)
            loss = -(similarity(p1, z2.detach()).mean() + similarity(p2, z1.detach()).mean()) * 0.5
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            spreads.append(nn.functional.normalize(z1.detach(), dim=1).std(0).mean().item())
        means = f"loss {sum(losses) / len(losses):.4f}, z_std {sum(spreads) / len(spreads):.4f}"
        sys.stdout.write(f"epoch {epoch + 1} of {epochs}: {means}\n")
        sys.stdout.flush()
    return network


def main() -> None:
    """Train, and save the network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="with train/CLASS/IMAGE")
    parser.add_argument("weights", type=Path, help="to write")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    torch.save(train(load(asked.folder), asked.epochs).state_dict(), asked.weights)


if __name__ == "__main__":
    main()
