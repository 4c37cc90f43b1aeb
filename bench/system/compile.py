"""Compile a network where that is possible, and go on without where it is not."""

from __future__ import annotations

import logging

import torch
from torch import nn

log = logging.getLogger(__name__)


def compile_or_warn(network: nn.Module) -> None:
    """Compile `network` in place when it is first called; its weights keep their names.

    Parts that the compiler cannot handle run uncompiled. Where there is no compiler all of it does, and a
    warning says so.
    """
    torch._dynamo.config.suppress_errors = True  # noqa: SLF001 - the documented switch
    try:
        network.compile()
    except RuntimeError as error:  # torch.compile knows neither this Python nor this system
        log.warning("train.compile: the network runs as it is (%s).", " ".join(str(error).split()))
