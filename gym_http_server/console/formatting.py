"""Template filters that format times and numbers."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta


def age(span: timedelta) -> str:
    """Return `span` in its two largest units, such as `2 h 5 min`; a clock that was set back gives `0 s`."""
    seconds = max(0, int(span.total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {seconds} s"
    return f"{seconds} s"


def since(moment: datetime) -> str:
    """Return how long ago `moment` was, formatted like `age`."""
    return age(datetime.now(UTC) - moment)


def duration(seconds: float) -> str:
    """Return `seconds` formatted like `age`, with a decimal below ten; a dash for an invalid duration."""
    if not 0 <= seconds < timedelta.max.total_seconds():
        return "\N{EN DASH}"
    return f"{seconds:.1f} s" if seconds < 9.95 else age(timedelta(seconds=seconds))


def number(value: float) -> str:
    """Return `value` with two decimals, or with three significant digits if it is very small or very large."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        text = "\N{INFINITY}"
    elif value == 0 or 0.005 <= abs(value) < 1e9:
        text = f"{abs(value):,.2f}"
    else:
        text = f"{abs(value):.3g}"
    return "\N{MINUS SIGN}" + text if value < 0 else text


def threshold(value: float) -> str:
    """Return a threshold with all its digits, up to ten."""
    return f"{value:,.10g}".replace("-", "\N{MINUS SIGN}")


def day(moment: datetime) -> str:
    """Return the date of `moment` in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def minute(moment: datetime) -> str:
    """Return date and time of `moment` in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
