"""The coordinates of learning curves, for anything that an environment may return."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.console.plot import NARROW, WIDE, learning_curve
from tests.support.fake_results import Curve

NUMBER = r"-?\d+\.\d"


def points(path):
    """Return the points of a path; what is not of the form that the plot writes fails."""
    assert re.fullmatch(rf"(?:M{NUMBER} {NUMBER}h0|L{NUMBER} {NUMBER})*", path), path[:200]
    return [(float(x), float(y)) for x, y in re.findall(rf"({NUMBER}) ({NUMBER})", path)]


def raw(returns, means=None):
    """Return a curve of these returns and means, which need not be theirs."""
    return Curve(tuple(returns), (1,) * len(returns), tuple(returns if means is None else means), (0.0,) * len(returns))


def holds(plot):
    """Check that everything lies in the view box and that the labels can be read."""
    shape = plot.shape
    assert 0 < plot.left < plot.right <= shape.width
    assert 0 < plot.top < plot.bottom <= shape.height
    for x, y in points(plot.returns) + points(plot.mean):
        assert plot.left - 0.1 <= x <= plot.right + 0.1
        assert plot.top - 0.1 <= y <= plot.bottom + 0.1
    assert plot.threshold is None or plot.top <= plot.threshold <= plot.bottom
    for ticks, low, high in ((plot.x_ticks, plot.left, plot.right), (plot.y_ticks, plot.top, plot.bottom)):
        assert 2 <= len(ticks) <= 15
        assert all(low - 0.1 <= tick.at <= high + 0.1 for tick in ticks)
        assert len({tick.label for tick in ticks}) == len(ticks)
        assert "nan" not in "".join(tick.label for tick in ticks)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(), st.floats()), max_size=50),
    st.none() | st.floats(),
    st.sampled_from([WIDE, NARROW]),
)
def test_everything_lies_in_the_view_box(values, threshold, shape):
    """Whatever the returns, every coordinate is finite and inside, every label is a number of its own."""
    returns, means = zip(*values, strict=True) if values else ((), ())
    plot = learning_curve(raw(returns, means), threshold, shape)
    if any(map(math.isfinite, returns + means)):
        holds(plot)
        assert plot.left_out == sum(not math.isfinite(each) for each in returns)
        assert (plot.threshold is None) is (threshold is None or not math.isfinite(threshold))
    else:
        assert plot is None


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(0, 2**32), st.sampled_from([WIDE, NARROW]))
def test_the_number_of_points_is_bounded(count, seed, shape):
    """However many episodes there are, a line has no more points than its shape allows, and its extremes among them."""
    returns = [float((n * 7919 + seed) % 1009) for n in range(count)]
    plot = learning_curve(raw(returns), None, shape)
    holds(plot)
    assert len(points(plot.returns)) <= shape.max_points
    assert len(points(plot.mean)) <= shape.max_points
    low, high = (float(plot.y_ticks[n].label.replace("\N{MINUS SIGN}", "-").replace(",", "")) for n in (0, -1))
    expected = [plot.bottom - (plot.bottom - plot.top) * (end(returns) - low) / (high - low) for end in (max, min)]
    for path in (plot.returns, plot.mean):
        heights = [y for _, y in points(path)]
        assert [min(heights), max(heights)] == pytest.approx(expected, abs=0.1)


def test_a_million_episodes_keep_their_extremes():
    """Of a million episodes the single best and the single worst are drawn, in at most 2,000 points."""
    returns = [0.0] * 1_000_000
    returns[123_456], returns[654_321] = 100.0, -100.0
    plot = learning_curve(raw(returns), None)
    holds(plot)
    drawn = points(plot.returns) + points(plot.mean)
    assert len(drawn) <= 2000
    assert plot.band
    for path in (plot.returns, plot.mean):
        assert {plot.top, plot.bottom} <= {y for _, y in points(path)}


@pytest.mark.parametrize("value", [0.0, 500.0, -200.0, 1e-12, 1e20, 1.7e308])
@pytest.mark.parametrize("count", [1, 2, 150])
def test_equal_returns_are_a_level_line(value, count):
    """Returns that are all the same are drawn within the axes, and one episode is a dot."""
    plot = learning_curve(raw([value] * count), None)
    holds(plot)
    assert len({y for _, y in points(plot.mean)}) == 1
    assert len(points(plot.returns)) == count


def test_a_gap_is_left_where_the_mean_is_not_finite():
    """The running mean is not drawn across episodes where it has no value."""
    plot = learning_curve(raw([1.0, 2.0, math.nan, 4.0, math.inf, 6.0, 7.0]), None)
    assert re.sub("[^MLh]", "", plot.mean) == "MhLMhMhL"


@pytest.mark.parametrize(
    ("returns", "labels"),
    [
        ([0.0, 500.0], ["0", "100", "200", "300", "400", "500"]),
        ([0.0, 1.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (
            [-210.0, -90.0],
            ["\N{MINUS SIGN}250", "\N{MINUS SIGN}200", "\N{MINUS SIGN}150", "\N{MINUS SIGN}100", "\N{MINUS SIGN}50"],
        ),
        ([0.0, 4e7], ["0", "1e+07", "2e+07", "3e+07", "4e+07"]),
        ([1e6, 1.04e6], ["1,000,000", "1,010,000", "1,020,000", "1,030,000", "1,040,000"]),
    ],
)
def test_the_ticks_are_round_numbers(returns, labels):
    """The axis begins and ends with a tick, and ticks are 1, 2 or 5 of a power of ten apart."""
    assert [tick.label for tick in learning_curve(raw(returns), None).y_ticks] == labels


def test_the_threshold_is_within_the_axes():
    """A threshold above all returns is drawn, in the middle of nothing if need be."""
    plot = learning_curve(raw([10.0, 20.0]), 475.0)
    holds(plot)
    assert plot.threshold < min(y for _, y in points(plot.returns))
    assert "counts as solved at 475" in plot.summary
