"""Times in the words of a page."""

from __future__ import annotations

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
    """Return how long ago `moment` was, in the words of `age`."""
    return age(datetime.now(UTC) - moment)
