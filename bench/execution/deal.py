"""Cells that several processes evaluate, each whole ones: the leader the first, the others the last of them.

Each takes what nobody has taken, so none waits while there is something to do; who is quick takes more. The
leader goes on in the order of the cells, and finds what the others have made of theirs when it comes to them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import CellError
from bench.keys import digest
from bench.planning.cells import Cell
from bench.splits.amounts import ALL_LABELS
from bench.system.board import Board

LEADER = 0  # its rank
LOOK_S = 0.05  # between two looks at what another has made
RUN_AGAIN = "Run again for this cell; where memory ran out, with fewer --devices."


@dataclass(frozen=True)
class Deal:
    """Cells to be taken, some of them only together.

    Args:
        name: tells it from every other of these processes.
        units: of cells that one process takes together.
    """

    name: str
    units: Sequence[Sequence[Cell]]

    def take(self, board: Board, unit: int, rank: int) -> int:
        """Take a unit for a process, and return whose it is."""
        return board.take(f"{self.name}/{unit}", rank)

    def work(self, board: Board, rank: int, make: Callable[[Cell], Any]) -> None:
        """Make of cells what can be sent, as another process than the leader, until all are taken."""
        for number in range(len(self.units) - 1, -1, -1):
            if self.take(board, number, rank) == rank:
                for place, cell in enumerate(self.units[number]):
                    board.leave(self._where(rank), (number, place))
                    board.leave(self._made(number, place), make(cell))
        board.leave(self._over(rank), value=True)

    def find(self, board: Board, number: int, place: int) -> Any:
        """Return what was made of a cell, once it was."""
        return board.find(self._made(number, place))

    def last(self, board: Board, rank: int) -> Any:
        """Return the unit, and the place in it, of the cell that a process has begun last."""
        return board.find(self._where(rank))

    def is_over(self, board: Board, rank: int) -> bool:
        """Tell whether a process has made all that it has taken, and takes no more."""
        return board.find(self._over(rank)) is not None

    def _made(self, number: int, place: int) -> str:
        return f"{self.name}/made/{number}/{place}"

    def _where(self, rank: int) -> str:
        return f"{self.name}/where/{rank}"

    def _over(self, rank: int) -> str:
        return f"{self.name}/over/{rank}"


class Dealer:
    """The leader's part of a deal.

    Args:
        deal: that the others were told of.
        board: of all of them.
        others: their ranks.
        how_ended: tells how a process has ended; nothing where it has not.
    """

    def __init__(
        self, deal: Deal, board: Board, others: Sequence[int], how_ended: Callable[[int], str]
    ) -> None:
        self.deal, self.board, self.others, self.how_ended = deal, board, others, how_ended
        self._places: Mapping[str, tuple[int, int]] = {
            cell.keys.score: (number, place)
            for number, unit in enumerate(deal.units)
            for place, cell in enumerate(unit)
        }

    def has(self, cell: Cell) -> bool:
        """Tell whether a cell is one of those that were dealt."""
        return cell.keys.score in self._places

    def get(self, cell: Cell) -> Any:
        """Return what another process makes of a cell; none where it is for this one to make.

        Raises:
            CellError: the other process ended while it made it.
        """
        number, place = self._places[cell.keys.score]
        maker, ended = self.deal.take(self.board, number, LEADER), ""
        while maker != LEADER:
            made = self.deal.find(self.board, number, place)
            if made is not None:
                return made
            if ended:  # and what it has left before is not what was looked for
                if self.deal.last(self.board, maker) == (number, place):
                    raise CellError(f"{ended}. {RUN_AGAIN}")
                return None
            ended = self.how_ended(maker)
            if not ended:
                time.sleep(LOOK_S)
        return None

    def is_over(self) -> bool:
        """Tell whether no other process makes anything any more."""
        return all(self.deal.is_over(self.board, rank) or self.how_ended(rank) for rank in self.others)

    def wait(self) -> bool:
        """Wait until it is over, and tell whether all other processes are still there."""
        while not self.is_over():
            time.sleep(LOOK_S)
        return not any(map(self.how_ended, self.others))


def join_fits(cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Yield cells in their order, those together that follow each other and fit the same to the same rows.

    In one process the second of them finds what the first has fitted, such as the linear readout that both
    compare with; in two processes each would fit it.
    """
    unit: list[Cell] = []
    for cell in cells:
        if unit and not _shares_fit(unit[-1], cell):
            yield unit
            unit = []
        unit.append(cell)
    if unit:
        yield unit


def _shares_fit(one: Cell, other: Cell) -> bool:
    if one.keys.features != other.keys.features:
        return False
    if (one.amount or ALL_LABELS) != (other.amount or ALL_LABELS):
        return False
    return not _list_fits(one).isdisjoint(_list_fits(other))


def _list_fits(cell: Cell) -> set[str]:
    """Return what tells apart the evaluators that a cell fits: its own, and those that it uses."""
    identity = cell.evaluator.identity
    return {_name_fit(identity["name"], identity), *_list_used(identity)}


def _list_used(identity: Mapping[str, Any]) -> Iterator[str]:
    for name, used in identity.get("uses", {}).items():
        yield _name_fit(name, used)
        yield from _list_used(used)


def _name_fit(name: str, identity: Mapping[str, Any]) -> str:
    return digest({"name": name, "config": identity["config"]})
