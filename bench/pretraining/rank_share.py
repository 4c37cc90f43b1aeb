"""Embed a rank's share of some images as if all were embedded: batch norm, shares and draws are those of all.

    batch norm      statistics of the rows of all ranks (`synchronised_norm`)
    `in_shares`     each share of all images, of which a rank has some rows or none
    random numbers  drawn for all images, of which a rank takes those of its own

It is done where these functions are called, so a network is left as it is, and so are the names in its state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bench.errors import CellError
from bench.nn.shares import count_shares, in_shares
from bench.pretraining.synchronised_norm import synchronised_norm
from bench.system.ranks import Ranks

FILLS = tuple(
    getattr(Tensor, f"{name}_")
    for name in (
        "bernoulli",
        "cauchy",
        "exponential",
        "geometric",
        "log_normal",
        "normal",
        "random",
        "uniform",
    )
)
LIKE = (torch.rand_like, torch.randn_like, torch.randint_like)
SIZED = (torch.rand, torch.randn)
DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)


@dataclass(frozen=True)
class Places:
    """Where the rows of each rank are among some images.

    Args:
        count: of the images.
        by_rank: places of the rows of each rank, (rows,) int64 each, on the CPU, ascending.
        rank: whose part is embedded here.
    """

    count: int
    by_rank: Sequence[Tensor]
    rank: int

    @classmethod
    def of(cls, ranks: Ranks, count: int) -> Places:
        """Return the even shares of some images."""
        shares = [torch.arange(part.start, part.stop) for part in ranks.shares(slice(0, count))]
        return cls(count, shares, ranks.rank)

    @property
    def own(self) -> Tensor:
        """Those of this rank."""
        return self.by_rank[self.rank]

    def repeat(self, times: int) -> Places:
        """Return the places where all images follow each other several times, as views do."""
        again = [torch.cat([rows + number * self.count for number in range(times)]) for rows in self.by_rank]
        return Places(times * self.count, again, self.rank)

    def of_rows(self, rows: int) -> Places | None:
        """Return the places of this rank's rows of a tensor; none where it has another number of them."""
        own = len(self.own)
        if not own:
            return self if not rows else None
        return None if not rows or rows % own else self.repeat(rows // own)

    def among(self, some: Tensor) -> Places:
        """Return the places in some of the images, themselves given by places, of the rows that are there."""
        owner = torch.empty(self.count, dtype=torch.long)
        for rank, rows in enumerate(self.by_rank):
            owner[rows] = rank
        parts = [(owner[some] == rank).nonzero().flatten() for rank in range(len(self.by_rank))]
        return Places(len(some), parts, self.rank)


class RankShare(TorchFunctionMode):
    """In this context functions of torch, and `in_shares`, see a rank's rows as a part of all images.

    Args:
        ranks: all of which do the same with their rows.
        places: of the rows.
    """

    def __init__(self, ranks: Ranks, places: Places) -> None:
        super().__init__()
        self.ranks, self.places = ranks, places

    @cached_property
    def _handlers(self) -> dict[Any, Callable[..., Any]]:
        handlers: dict[Any, Callable[..., Any]] = {F.batch_norm: self._normalise, in_shares: self._share}
        handlers |= dict.fromkeys(FILLS, self._fill) | dict.fromkeys(LIKE, self._draw_like)
        handlers |= dict.fromkeys(SIZED, self._draw) | dict.fromkeys(DROPOUTS, self._drop)
        return handlers

    def __enter__(self) -> RankShare:  # noqa: PYI034 - Self is newer than the oldest Python we run on
        """Enter the context."""
        self._state = self.drawn_to()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the context.

        Raises:
            CellError: something was drawn that was not seen here.
        """
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        if error[0] is None:
            self._refuse_other_draws()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Return what a function makes of the rows."""
        handler = self._handlers.get(func)
        return handler(func, *args, **(kwargs or {})) if handler else func(*args, **(kwargs or {}))

    # ---- batch norm, and shares of a batch

    def _normalise(
        self,
        func: Any,
        input: Tensor,  # noqa: A002 - torch's name
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,  # noqa: FBT001, FBT002
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Any:
        if not training:
            return func(input, running_mean, running_var, weight, bias, momentum=momentum, eps=eps)
        return synchronised_norm(self.ranks, input, running_mean, running_var, weight, bias, momentum, eps)

    def _share(
        self, _: Any, network: nn.Module, images: Tensor, size: int, order: Tensor | None = None
    ) -> Tensor:
        places = self.places.of_rows(len(images)) or self.places
        count = count_shares(network, places.count, size)
        if count == 1 or order is None:
            dealt = torch.arange(places.count)
        else:
            joined = self.ranks.join_rows(order, [len(rows) for rows in places.by_rank]).cpu()
            whole = torch.empty_like(joined).index_copy_(0, torch.cat(list(places.by_rank)), joined)
            dealt = whole.argsort(stable=True)
        number = torch.full((places.count,), -1)
        number[places.own] = torch.arange(len(images))
        taken, outputs = [], []
        for share in dealt.tensor_split(count):
            rows = number[share]
            rows = rows[rows >= 0].to(images.device)
            with RankShare(self.ranks, places.among(share)) as inner:
                outputs.append(network(images[rows]))
            self._state = inner.drawn_to()
            taken.append(rows)
        return torch.cat(outputs)[torch.cat(taken).argsort()]

    # ---- random numbers

    def _fill(self, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if any(isinstance(value, Tensor) for value in args):  # numbers of one's own rows: `__exit__` refuses
            filled: Tensor = func(x, *args, **kwargs)
            return filled
        return x.copy_(self._draw_rows(x.shape, lambda shape: func(x.new_empty(shape), *args, **kwargs)))

    def _draw_like(self, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self._draw_rows(x.shape, lambda shape: func(x.new_empty(shape), *args, **kwargs))

    def _draw(self, func: Any, *size: Any, **kwargs: Any) -> Tensor:
        shape = torch.Size(size[0] if size and not isinstance(size[0], int) else size or kwargs.pop("size"))
        return self._draw_rows(shape, lambda whole: func(whole, **kwargs))

    def _drop(
        self,
        func: Any,
        input: Tensor,  # noqa: A002 - torch's name
        p: float = 0.5,
        training: bool = True,  # noqa: FBT001, FBT002
        inplace: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        if not training or not p:
            return func(input, p, training, inplace)
        kept = self._draw_rows(input.shape, lambda shape: func(input.new_ones(shape), p))
        return input.mul_(kept) if inplace else input * kept

    def _draw_rows(self, shape: Sequence[int], draw: Callable[[torch.Size], Tensor]) -> Tensor:
        """Return this rank's rows of what is drawn for all images."""
        self._refuse_other_draws()
        places = self.places.of_rows(shape[0]) if shape else None
        if places is None:  # nothing that belongs to images: all ranks draw the same
            drawn = draw(torch.Size(shape))
        else:
            whole = draw(torch.Size((places.count, *shape[1:])))
            drawn = whole[places.own.to(whole.device)]
        self._state = self.drawn_to()
        return drawn

    def drawn_to(self) -> list[Tensor]:
        """Return the random states that a network may draw from."""
        gpu = self.ranks.device.type == "cuda"
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(self.ranks.device)] if gpu else [])]

    def _refuse_other_draws(self) -> None:
        """Raise a CellError if something was drawn that was not seen here."""
        now = self.drawn_to()
        if not all(torch.equal(one, other) for one, other in zip(now, self._state, strict=True)):
            raise CellError(
                "embed(): it draws random numbers by a function that --devices cannot share out, such as "
                "dropout within attention. Draw them in draw(), or leave --devices out."
            )
