"""What is measured, and the figures made of it."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .servers import Stage

Sample = dict[str, float]
"""What one chunk of work gave; a subject gives some of these.

`p50` in µs, `rate` per second, `processor` (the server's time in µs for each request), `busy` (% of the time that the
client's processor works), `megabytes` (10⁶ bytes), `errors`.
"""

Measure = Callable[[], Sample]

LEAST_CALLS = 3
"""Calls that a chunk times even if the first has used its time up, so that there is a median."""


class UnavailableError(Exception):
    """It cannot be measured on this machine; the text says what it would take."""


class Subject(Protocol):
    """What can be measured: a frozen dataclass, so that rows that name an equal one share its measurements."""

    def open(self, stage: Stage) -> AbstractContextManager[Measure]:
        """Set it up, and give the function that does one chunk of work."""


Samples = Mapping[Subject, Sample]


class Figure(Protocol):
    """A number made of what subjects gave in one round."""

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What has to be measured for it."""

    def of(self, samples: Samples) -> float:
        """Return it for one round."""


@dataclasses.dataclass(frozen=True)
class Value:
    """One member of what a subject gives."""

    subject: Subject
    member: str

    @property
    def subjects(self) -> tuple[Subject, ...]:
        return (self.subject,)

    def of(self, samples: Samples) -> float:
        return samples[self.subject][self.member]


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much more a figure is than another of the same round."""

    figure: Figure
    base: Figure

    @property
    def subjects(self) -> tuple[Subject, ...]:
        return self.figure.subjects + self.base.subjects

    def of(self, samples: Samples) -> float:
        return self.figure.of(samples) - self.base.of(samples)


@dataclasses.dataclass(frozen=True)
class Remainder:
    """What is left of a rate where something else takes its time `times` a second, and could be done at `other` a second."""

    rate: Figure
    times: int
    other: Figure

    @property
    def subjects(self) -> tuple[Subject, ...]:
        return self.rate.subjects + self.other.subjects

    def of(self, samples: Samples) -> float:
        return self.rate.of(samples) * (1 - self.times / self.other.of(samples))


def p50(subject: Subject) -> Value:
    """Return how long one call takes, in µs: half of them take longer."""
    return Value(subject, "p50")


def rate(subject: Subject) -> Value:
    """Return how many there are a second."""
    return Value(subject, "rate")


def processor(subject: Subject) -> Value:
    """Return how much processor time the server takes for each request, in µs."""
    return Value(subject, "processor")


def busy(subject: Subject) -> Value:
    """Return how much of the time the client's processor works, in %."""
    return Value(subject, "busy")


def megabytes(subject: Subject) -> Value:
    """Return how much memory it takes, in 10⁶ bytes."""
    return Value(subject, "megabytes")


def timed(
    call: Callable[[], Any], seconds: float, *, steps: int = 1, after: Callable[[Any], object] | None = None
) -> Sample:
    """Make a call again and again, and time each.

    Args:
        call: what is timed.
        seconds: when to stop: the calls have taken so long together.
        steps: how many steps a call takes, for the rate.
        after: is given what each call returned; not timed.
    """
    durations = []
    left = int(seconds * 1e9)
    while left > 0 or len(durations) < LEAST_CALLS:
        begun = time.perf_counter_ns()
        result = call()
        duration = time.perf_counter_ns() - begun
        durations.append(duration)
        left -= duration
        if after is not None:
            after(result)
    return {"p50": statistics.median(durations) / 1e3, "rate": steps * len(durations) / sum(durations) * 1e9}
