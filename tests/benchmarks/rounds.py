"""The run: in every round each subject does a chunk of work, so that a disturbance hits a figure and its floor alike."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Iterator, Sequence

from .figure import Figure, Measure, Sample, Subject, UnavailableError
from .row import Row
from .servers import Stage


@dataclasses.dataclass
class Series:
    """What a subject gave, a sample for each round; `problem` says why it gave none."""

    samples: list[Sample] = dataclasses.field(default_factory=list)
    problem: str = ""
    failed: bool = False

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Keep what goes wrong with one subject from the others."""
        try:
            yield
        except UnavailableError as error:
            self.problem = str(error)
        except Exception as error:  # noqa: BLE001 -- the row says what it was, and the run exits with status 1
            self.problem = f"{type(error).__name__}: {error}"
            self.failed = True


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a row.

    Args:
        row: the row.
        figures: the figure of every round; empty where it could not be measured.
        floors: the floor of every round.
        errors: replies that were not what they should be, over all rounds.
        problem: why it was not measured.
        failed: that is a fault, and not something that this machine lacks.
    """

    row: Row
    figures: list[float]
    floors: list[float]
    errors: int
    problem: str = ""
    failed: bool = False

    @property
    def figure(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.figures)

    @property
    def floor(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.floors)

    @property
    def reached(self) -> bool | None:
        """Whether the figure clears its bar, with no errors; None where there is no bar or no figure."""
        if self.row.bar is None or not self.figures:
            return None
        return not self.errors and self.row.bar.clears(self.figure, self.floor)


def measure(rows: Sequence[Row], stage: Stage, rounds: int) -> list[Result]:
    """Measure rows that share their servers.

    Args:
        rows: the rows of a group.
        stage: where it is done.
        rounds: how many; one more goes before them, to warm up.
    """
    subjects = list(dict.fromkeys(each for row in rows for each in row.figure.subjects + row.floor.subjects))
    series = {subject: Series() for subject in subjects}
    measures: dict[Subject, Measure] = {}
    with contextlib.ExitStack() as stack:
        for subject in subjects:
            # The outer one for what goes wrong when the subject is closed.
            stack.enter_context(series[subject].guard())
            with series[subject].guard():
                measures[subject] = stack.enter_context(subject.open(stage))
        for at in range(rounds + 1):
            for subject in subjects if at % 2 else reversed(subjects):
                its = series[subject]
                if its.problem:
                    continue
                with its.guard():
                    sample = measures[subject]()
                    if at:
                        its.samples.append(sample)
    return [result(row, series) for row in rows]


def result(row: Row, series: dict[Subject, Series]) -> Result:
    """Return what came of a row."""
    its = [series[subject] for subject in dict.fromkeys(row.figure.subjects + row.floor.subjects)]
    problem = "; ".join(dict.fromkeys(each.problem for each in its if each.problem))
    if problem:
        return Result(row, [], [], 0, problem, any(each.failed for each in its))
    errors = sum(int(sample.get("errors", 0)) for each in its for sample in each.samples)
    return Result(row, by_round(row.figure, series), by_round(row.floor, series), errors)


def by_round(figure: Figure, series: dict[Subject, Series]) -> list[float]:
    """Return a figure for each round."""
    taken = zip(*(series[subject].samples for subject in figure.subjects), strict=True)
    return [figure.of(dict(zip(figure.subjects, samples, strict=True))) for samples in taken]
