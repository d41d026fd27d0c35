"""The benchmarks: that they run, say what they measured, and leave nothing behind. Their figures are no test's business."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ..support.serving import ROOT, SECONDS, eventually, living
from . import report
from .figure import Difference, Measure, Remainder, UnavailableError, megabytes, p50
from .rounds import Result, measure
from .row import Row, at_least_times, at_most, at_most_over
from .servers import BARE, BLOCKING, PROCESS, Kind, Stage
from .subjects.load import Load
from .subjects.memory import Memory
from .subjects.thinking import ThinkingStep
from .table import table

pytestmark = pytest.mark.full

COMMAND = [sys.executable, "-m", "tests.benchmarks"]
FACTS = dict.fromkeys(("cpu", "cores", "memory", "os", "kernel", "python", "packages"), "?")


@dataclass(frozen=True)
class Fake:
    """A subject that gives these figures, one a round after the first, which warms up."""

    figures: tuple[float, ...] = (1.0, 5.0, 2.0)
    errors: int = 0
    fault: Exception | None = None
    fault_at: str = "open"

    @contextlib.contextmanager
    def open(self, _: Stage) -> Iterator[Measure]:
        figures = iter((1000.0, *self.figures))

        def chunk() -> dict[str, float]:
            self._fail("measure")
            return {"p50": next(figures), "errors": self.errors}

        self._fail("open")
        yield chunk
        self._fail("close")

    def _fail(self, where: str) -> None:
        if self.fault is not None and self.fault_at == where:
            raise self.fault


def results(*rows: Row) -> list[Result]:
    with Stage(seconds=0.0, most_instances=1) as stage:
        return measure(rows, stage, 3)


def connections(process: psutil.Process) -> int:
    """Return how many clients' connections a process has open."""
    return sum(each.status == psutil.CONN_ESTABLISHED for each in process.net_connections("tcp"))


def row(subject: Fake, floor: Fake, **arguments: object) -> Row:
    return Row("a group", "a name", "µs", p50(subject), "the floor's name", p50(floor), **arguments)


def test_a_quick_run_prints_the_table_and_writes_json(tmp_path: Path) -> None:
    """A run prints a row with its figure, floor and bar, and writes the figures of each round."""
    path = tmp_path / "figures.json"
    parts = (
        *(
            "one step of CartPole: process, p50",
            "turns on a connection",
            "10 ms, process, processor",
            "64, think 1 ms",
            "viewer",
        ),
        *("clients at once: 8, inline", "an instance of its own: 2", "create: process", "with a connection each"),
    )
    arguments = ["--quick", *(f"--only={each}" for each in parts), "--json", str(path)]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(path.read_text())
    assert written["quick"] is True
    bars = [(each["group"], each["name"], each["reached"] is not None) for each in written["rows"]]
    assert bars == [
        ("one step of CartPole", "process, p50", True),
        ("one step of CartPole, by how long the client thinks before it", "10 ms, process, processor time", False),
        ("processor time of one step, many clients at once", "64, think 1 ms, process", False),
        ("one step of CartPole, two environments in turns on a connection", "process, p50", True),
        ("clients at once", "8, inline", False),
        ("clients at once, each on an instance of its own", "2, process", True),
        ("one step of CartPole, a viewer fetches 10 frames a second", "process, steps", True),
        ("create", "process, p50", True),
        ("memory of 100 live instances with a connection each", "private, each", True),
    ]
    for each in written["rows"]:
        assert each["name"] in done.stdout
        assert each["problem"] is None
        assert each["errors"] == 0
        assert len(each["figures"]) == len(each["floors"]) == written["rounds"] == 2
        assert each["figure"] > 0
        assert each["floor"] > 0
    assert "0.65 times the floor" in done.stdout
    assert socket.gethostname() not in json.dumps(written["machine"])


def test_markdown_names_the_machine_below_the_table() -> None:
    """`--markdown` prints the table of each group, and the processor, the system and the versions below it."""
    arguments = ["--quick", "--markdown", "--rounds", "1", "--only", "create: inline", "--json", os.devnull]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    group, _, heading, _, one, _, caption = done.stdout.rstrip().split("\n")
    assert (group, heading[:17]) == ("### Create", "| What | Figure |")
    assert one.startswith("| inline, p50 |")
    assert caption.startswith("Medians of 1 round on ")
    assert sys.version.split()[0] in caption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_no_process(number: int) -> None:
    """Ctrl-C and SIGTERM end the servers that a run has started, and the environments in them."""
    arguments = ["--rounds", "1000", "--only", "create: process", "--json", os.devnull]
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        its = psutil.Process(run.pid)
        started = eventually(lambda: len(found := its.children(recursive=True)) > 3 and found)
        run.send_signal(number)
        assert run.wait(SECONDS) == 1
    assert not living(started)


def test_clients_that_are_spread_have_a_server_each() -> None:
    """Each of them keeps a connection to another copy of the server, and all copies are gone at the end."""
    with Stage(seconds=0.0, most_instances=2) as stage:
        with Load(BARE, 2, is_spread=True).open(stage) as chunk:
            assert chunk()["errors"] == 0
            servers = [stage.server(BARE, copy=at).seen for at in range(2)]
            assert [connections(each) for each in servers] == [1, 1]
        assert stage.server(BARE).seen == servers[0]
    assert not living(servers, 0)


@pytest.mark.parametrize("is_used", [False, True])
def test_an_instance_whose_memory_is_measured_serves_a_connection_if_it_is_used(is_used: bool) -> None:
    """The instances' processes have a client's connection each where they are used, and none where they are not."""
    with Stage(seconds=0.0, most_instances=3) as stage, Memory(PROCESS, 3, is_used).open(stage) as chunk:
        assert chunk()["errors"] == 0
        below = stage.server(PROCESS).seen.children(recursive=True)
        assert sum(map(connections, below)) == (3 if is_used else 0)


def test_rows_are_named_apart_and_found_by_name() -> None:
    """No two rows have the same title, and `--list` prints all of them, or those that `--only` chooses."""
    titles = [each.title for each in table()]
    assert len(set(titles)) == len(titles)
    listed = subprocess.check_output([*COMMAND, "--list"], cwd=ROOT, text=True)
    assert listed.splitlines() == titles
    chosen = subprocess.check_output([*COMMAND, "--list", "--only", "PONG"], cwd=ROOT, text=True)
    assert chosen.splitlines() == [each for each in titles if "Pong" in each]


def test_only_that_matches_nothing_is_refused() -> None:
    """A text that is in no row's title is a usage error."""
    done = subprocess.run([*COMMAND, "--only", "nonsense"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 2
    assert "no row has that" in done.stderr


def test_a_figure_is_the_median_of_the_rounds_after_the_first() -> None:
    """The first round only warms up, and of the others the median counts, for the figure and for its floor."""
    (its,) = results(row(Fake(), Fake((3.0, 4.0, 9.0)), bar=at_most_over(0, "µs")))
    assert (its.figures, its.figure, its.floor, its.reached) == ([1.0, 5.0, 2.0], 2.0, 4.0, True)


def test_a_difference_is_taken_within_each_round() -> None:
    """What one figure is more than another is found round by round."""
    difference = Difference(p50(Fake()), p50(Fake((1.0, 1.0, 2.0))))
    (its,) = results(Row("a group", "a name", "µs", difference, "the same", difference))
    assert its.figures == [0.0, 4.0, 0.0]


def test_a_remainder_is_a_rate_less_the_time_of_something_else() -> None:
    """What could be done 40 times a second and is done 10 times leaves three quarters of a rate."""
    whole, other = Fake((8.0, 8.0, 8.0)), Fake((40.0, 20.0, 40.0))
    remainder = Remainder(p50(whole), 10, p50(other))
    (its,) = results(Row("a group", "a name", "/s", p50(whole), "less the other", remainder))
    assert its.floors == [6.0, 4.0, 6.0]


def test_the_processor_time_of_a_server_is_that_of_all_its_processes() -> None:
    """It counts what the process below the server takes that steps the environment, while the server itself does nothing."""
    with Stage(seconds=0.05, most_instances=1) as stage, ThinkingStep(BLOCKING, 0.0).open(stage) as chunk:
        server = stage.server(BLOCKING)
        its_own = server.seen.cpu_times()
        sample = chunk()
        assert 0 < sample["processor"] < 1e5
        assert server.seen.cpu_times() == its_own
        assert len(server.seen.children()) == 1


def test_errors_keep_a_bar_from_being_reached() -> None:
    """A figure that clears its bar has not reached it where replies were errors, and the table counts them."""
    (its,) = results(row(Fake(errors=2), Fake(), bar=at_least_times(0.8)))
    assert its.reached is False
    assert report.row_cells(its)[-1] == "not reached (6 errors)"


@pytest.mark.parametrize("where", ["open", "measure", "close"])
def test_a_subject_that_fails_fails_its_rows_only(where: str) -> None:
    """Where a subject cannot be opened, measured or closed, its row says so and the others have their figures."""
    broken = Fake(fault=ConnectionError("it went away"), fault_at=where)
    failed, fine = results(row(broken, Fake(), bar=at_most(1, "µs")), row(Fake(), Fake()))
    assert failed.failed
    assert failed.reached is None
    assert "not measured: ConnectionError: it went away" in report.text([failed, fine], FACTS, 3)
    assert fine.figure == 2.0


def test_what_the_machine_lacks_is_no_failure() -> None:
    """A row that needs what is not installed says what to do, and does not fail the run."""
    (its,) = results(row(Fake(fault=UnavailableError("needs a thing: pip install thing")), Fake()))
    assert not its.failed
    assert "needs a thing: pip install thing" in report.markdown([its], FACTS, 3)


def test_another_projects_server_needs_its_package() -> None:
    """Where the Python for other projects has not the package, the row says what to install and where."""
    with Stage(seconds=0.0, most_instances=1) as stage:
        assert stage.interpreter("") == stage.interpreter("psutil") == sys.executable
        with pytest.raises(UnavailableError, match=r"needs some-thing: pip install some-thing, .*--rival-python"):
            stage.server(Kind("tests.benchmarks.rivals.some_thing", package="some_thing"))


def test_a_client_of_another_project_times_its_own_steps() -> None:
    """For each line it makes a chunk of work, with the actions in turns, and prints a sample; it ends with its input."""
    code = "from tests.benchmarks.rivals.client import work; done = []; work(done.append, print); print(done)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input="0\n0\n", capture_output=True, text=True, cwd=ROOT, timeout=60)
    *lines, actions = done.stdout.splitlines()
    samples = [json.loads(each) for each in lines if each != "None"]
    assert [set(each) for each in samples] == [{"p50", "rate"}] * 2
    assert json.loads(actions) == [0, 1, 0, 1, 0, 1]


def test_a_member_that_a_subject_does_not_give_is_an_error() -> None:
    """A row that asks for a figure which its subject does not measure is a mistake in the table."""
    with pytest.raises(KeyError, match="megabytes"):
        results(Row("a group", "a name", "MB", megabytes(Fake()), "the same", megabytes(Fake())))
