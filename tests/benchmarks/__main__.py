"""The command: `python -m tests.benchmarks --help`."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import click

from . import report
from .machine import machine
from .rounds import Result, measure
from .row import Row
from .servers import Stage
from .table import table

ROUNDS = 5
SECONDS = 0.5
QUICK_ROUNDS = 2
QUICK_SECONDS = 0.02
QUICK_INSTANCES = 5


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), help=f"How many; {ROUNDS} unless --quick.")
@click.option("--only", multiple=True, metavar="TEXT", help="Only rows with this in their group or name; repeatable.")
@click.option("--quick", is_flag=True, help="Tiny sizes, to see that it works: the figures say nothing.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="File to write the results to.")
@click.option(
    "--rival-python",
    type=click.Path(exists=True, dir_okay=False),
    default=sys.executable,
    help="Python that has the packages of other projects' servers; this one unless given.",
)
@click.option("--list", "lists", is_flag=True, help="List the rows and measure nothing.")
@click.option("--markdown", is_flag=True, help="Print the manual's tables instead.")
def main(
    rounds: int | None,
    only: tuple[str, ...],
    quick: bool,
    path: Path | None,
    rival_python: str,
    lists: bool,
    markdown: bool,
) -> None:
    """Measure, print one table, and write the results as JSON.

    Exits with status 1 where a row failed; a bar that is not reached is a figure like any other.
    """
    # Both, for a shell has what it starts in the background ignore SIGINT.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _stop)
    rows = [row for row in table() if not only or any(each.lower() in row.title.lower() for each in only)]
    if not rows:
        raise click.UsageError("no row has that in its group or name: --list lists them")
    if lists:
        click.echo("\n".join(row.title for row in rows))
        return
    path = path or Path(tempfile.gettempdir()) / "gym-http-server-benchmarks.json"
    if not path.parent.is_dir():
        raise click.UsageError(f"{path.parent} is no directory to write the results to")
    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    begun = dt.datetime.now(dt.UTC)
    results = run(rows, rounds, quick=quick, rival_python=rival_python)
    facts = machine()
    click.echo((report.markdown if markdown else report.text)(results, facts, rounds))
    settings = {"begun_at": begun.isoformat(timespec="seconds"), "rounds": rounds, "quick": quick}
    path.write_text(json.dumps(report.as_json(results, facts, settings), indent=1, ensure_ascii=False) + "\n")
    click.echo(f"written to {path}", err=True)
    sys.exit(any(each.failed for each in results))


def run(rows: list[Row], rounds: int, *, quick: bool, rival_python: str) -> list[Result]:
    """Measure the rows, a group at a time, each with servers of its own."""
    results = []
    for group, its in itertools.groupby(rows, lambda row: row.group):
        click.echo(f"measuring {group} …", err=True)
        seconds, most_instances = (QUICK_SECONDS, QUICK_INSTANCES) if quick else (SECONDS, sys.maxsize)
        with Stage(seconds=seconds, most_instances=most_instances, rival_python=rival_python) as stage:
            results += measure(list(its), stage, rounds)
    return results


def _stop(*_: object) -> NoReturn:
    # As Ctrl-C does: by way of the `with` statements that stop the servers.
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
