"""Compile a network where that can be done, and go on without where it cannot."""

from __future__ import annotations

import logging

import torch
from torch import nn

log = logging.getLogger(__name__)


def compile_or_warn(network: nn.Module) -> None:
    """Let `network` be compiled, in place, when it is first called; its weights keep their names.

    Parts that the compiler cannot do run as they are, and where there is no compiler all of it does:
    numbers then are those of the network that is not compiled, and a warning says so.
    """
    torch._dynamo.config.suppress_errors = True  # noqa: SLF001 - the documented switch
    try:
        network.compile()
    except RuntimeError as error:  # torch.compile knows neither this Python nor this system
        log.warning("train.compile: the network runs as it is (%s).", " ".join(str(error).split()))
