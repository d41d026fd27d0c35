"""A row of the table: a figure, its floor, and the bar that the figure has to clear."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from .figure import Figure


@dataclasses.dataclass(frozen=True)
class Bar:
    """What a figure has to clear.

    Args:
        text: the bar in words, for the table.
        clears: takes the figure and the floor's.
    """

    text: str
    clears: Callable[[float, float], bool]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        group: rows of a group share their servers, and their subjects take turns in every round.
        name: what is measured.
        unit: the unit of the figure and of the floor.
        figure: what is measured.
        floor_name: what the floor is.
        floor: the least that the same work can cost, or what to compare with.
        bar: what the figure has to clear; None where it is there to be read.
    """

    group: str
    name: str
    unit: str
    figure: Figure
    floor_name: str
    floor: Figure
    bar: Bar | None = None

    @property
    def title(self) -> str:
        """The group and the name, which no other row has."""
        return f"{self.group}: {self.name}"


def at_most(limit: float, unit: str) -> Bar:
    """The figure is no more than this."""
    return Bar(f"≤ {limit:,g} {unit}", lambda figure, _: figure <= limit)


def at_least(limit: float, unit: str) -> Bar:
    """The figure is no less than this."""
    return Bar(f"≥ {limit:,.0f} {unit}", lambda figure, _: figure >= limit)


def at_most_times(factor: float) -> Bar:
    """The figure is at most so many times the floor."""
    return Bar(f"≤ {factor:g} times the floor", lambda figure, floor: figure <= factor * floor)


def at_least_times(factor: float) -> Bar:
    """The figure is at least so many times the floor."""
    return Bar(f"≥ {factor:g} times the floor", lambda figure, floor: figure >= factor * floor)


def at_most_over(margin: float, unit: str) -> Bar:
    """The figure is at most so much over the floor."""
    return Bar(f"≤ floor + {margin:g} {unit}", lambda figure, floor: figure <= floor + margin)
