"""`learning_curve`: coordinates of a learning curve, which a template draws as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ..support.deferred import np
from .formatting import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..results.evaluation import Curve

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

# The difference of two values within ±1e150 is finite.
_MAX_VALUE = 1e150
# A smaller span relative to the values is rounding noise.
_MIN_RELATIVE_SPAN = 1e-9


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of a picture.

    Attributes:
        name: class in the style sheet.
        width: width of the view box.
        height: height of the view box.
        intervals: approximate number of intervals of the horizontal axis.
        max_points: maximum points of one line; a longer one is reduced to the extremes of its sections.
    """

    name: str
    width: int
    height: int
    intervals: int
    max_points: int


WIDE = Shape("wide", 960, 380, intervals=10, max_points=1000)
NARROW = Shape("narrow", 360, 300, intervals=4, max_points=400)


@dataclass(frozen=True, slots=True)
class Tick:
    """A coordinate on an axis and its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of a learning curve, in coordinates of the view box.

    Attributes:
        shape: its dimensions.
        left: x of the vertical axis.
        right: x of the last episode.
        top: y of the highest tick.
        bottom: y of the horizontal axis.
        x_ticks: ticks of the horizontal axis.
        y_ticks: ticks of the vertical axis.
        returns: SVG path of the returns: a dot for each, or the outline of their band.
        band: whether `returns` is a band, because there are too many for dots.
        mean: SVG path of the running mean.
        threshold: y of the reward threshold; None if there is none.
        summary: description in words, for screen readers.
        left_out: number of returns that are not finite, which are not drawn.
    """

    shape: Shape
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    returns: str
    band: bool
    mean: str
    threshold: float | None
    summary: str
    left_out: int


def learning_curve(curve: Curve, threshold: float | None, shape: Shape = WIDE) -> Plot | None:
    """Return the picture of a learning curve; None if it has no finite value.

    Args:
        curve: the learning curve.
        threshold: the reward threshold of the environment, or None.
        shape: dimensions of the picture.
    """
    returns, means = _clipped(curve.episode_returns), _clipped(curve.running_means)
    finite, finite_means = returns[np.isfinite(returns)], means[np.isfinite(means)]
    if threshold is not None and not math.isfinite(threshold):
        threshold = None
    if not (finite.size or finite_means.size):
        return None
    limits = _clipped(() if threshold is None else (threshold,))
    values = np.concatenate([finite, finite_means, limits])
    y_scale = _ticks(float(values.min()), float(values.max()), 5)
    x_scale = [tick for tick in _ticks(0, returns.size, shape.intervals, least=1) if tick <= returns.size]
    x_labels, y_labels = _labels(x_scale), _labels(y_scale)
    left, right = 34 + 7.5 * max(map(len, y_labels)), shape.width - 16 - 4.0 * len(x_labels[-1])
    top, bottom = 16.0, shape.height - 52.0

    def x_of(episodes: Floats) -> Floats:
        return left + (right - left) * episodes / returns.size

    def y_of(heights: Floats) -> Floats:
        share = (heights - y_scale[0]) / (y_scale[-1] - y_scale[0])
        return bottom - (bottom - top) * np.clip(share, 0, 1)

    def path(line: Floats, kept: Indices, begins: NDArray[np.bool]) -> str:
        # A line of length 0 with round ends is a dot, so that a single value between gaps is visible.
        return "".join(
            f"M{x:.1f} {y:.1f}h0" if begin else f"L{x:.1f} {y:.1f}"
            for x, y, begin in zip(x_of(np.asarray(kept, np.float64) + 1), y_of(line[kept]), begins, strict=True)
        )

    lowest, highest = _extremes(returns, shape.max_points)
    band = finite.size > shape.max_points
    outline = np.concatenate([highest, lowest[::-1]]) if band else np.flatnonzero(np.isfinite(returns))
    course = np.union1d(*_extremes(means, shape.max_points))
    gaps = np.cumsum(~np.isfinite(means))[course]
    return Plot(
        shape=shape,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_ticks=_placed(x_of(np.array(x_scale)), x_labels),
        y_ticks=_placed(y_of(np.array(y_scale)), y_labels),
        returns=path(returns, outline, (np.arange(outline.size) == 0) | (not band)),
        band=band,
        mean=path(means, course, np.diff(gaps, prepend=-1) > 0),
        threshold=None if threshold is None else float(y_of(limits)[0]),
        summary=_summary(finite, finite_means, threshold),
        left_out=int(returns.size - finite.size),
    )


def _clipped(values: tuple[float, ...]) -> Floats:
    line = np.asarray(values, np.float64)
    return np.where(np.isfinite(line), np.clip(line, -_MAX_VALUE, _MAX_VALUE), line)


def _extremes(line: Floats, max_points: int) -> tuple[Indices, Indices]:
    finite = np.flatnonzero(np.isfinite(line))
    if finite.size <= max_points:
        return finite, finite
    edges = np.linspace(0, finite.size, max_points // 2 + 1).astype(int)
    parts = [finite[start:stop] for start, stop in pairwise(edges)]
    lowest, highest = ([part[find(line[part])] for part in parts] for find in (np.argmin, np.argmax))
    return np.array(lowest), np.array(highest)


def _ticks(low: float, high: float, intervals: int, least: float = 0) -> list[float]:
    size = max(abs(low), abs(high))
    if high - low <= max(_MIN_RELATIVE_SPAN * size, 1 / _MAX_VALUE):
        low, high = low - max(1, size / 10), high + max(1, size / 10)
    raw = (high - low) / intervals
    unit = 10.0 ** math.floor(math.log10(raw))
    # 20, because rounding may make the quotient slightly more than 10.
    step = max(least, next(factor * unit for factor in (1, 2, 5, 10, 20) if factor * unit >= raw * 0.999))
    return [count * step for count in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _labels(ticks: list[float]) -> list[str]:
    if len(ticks) < 2:
        return [f"{tick:g}" for tick in ticks]
    step, size = ticks[1] - ticks[0], max(map(abs, ticks))
    decimals = max(0, -math.floor(math.log10(step) + 1e-6))
    if size < 1e7 and decimals <= 4:
        texts = [f"{tick:,.{decimals}f}" for tick in ticks]
    else:
        digits = max(1, math.floor(math.log10(size)) - math.floor(math.log10(step) + 1e-6) + 1)
        texts = [f"{tick:.{digits}g}" for tick in ticks]
    return [text.replace("-", "\N{MINUS SIGN}") for text in texts]


def _placed(places: Floats, labels: list[str]) -> list[Tick]:
    return [Tick(float(at), label) for at, label in zip(places, labels, strict=True)]


def _summary(returns: Floats, means: Floats, threshold: float | None) -> str:
    text = f"{returns.size:,} episodes"
    if returns.size:
        text += f" with returns from {number(returns.min())} to {number(returns.max())}"
    if means.size:
        text += f"; the mean of the last 100 ends at {number(means[-1])}"
    if threshold is not None:
        text += f"; the environment counts as solved at {number(threshold)}"
    return f"{text}."
