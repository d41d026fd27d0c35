"""The command: `python -m tests.compatibility --help`."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from gym_http_server.client import RemoteEnv

from ..benchmarks.machine import machine
from ..manual.generated import DOCUMENTS, updated
from ..support.serving import ROOT, Server
from . import results
from .local import SEED
from .pythons import CACHE, InstallError, python_of
from .table import Package, packages
from .trial import Local, LocalError, run_locally, run_served

Row = dict[str, Any]


@click.command()
@click.option(
    "--only", multiple=True, metavar="NAME", help="Only this package, or those with this in their name; repeatable."
)
@click.option("--quick", is_flag=True, help="Only those that install and run in seconds.")
@click.option("--check", is_flag=True, help="Exit with 1 where a result is not the one that is kept, and say which.")
@click.option("--write", is_flag=True, help="Keep the results, and write the page of the manual.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE,
    show_default=True,
    help="Directory of the packages' virtual environments.",
)
def main(only: tuple[str, ...], quick: bool, check: bool, write: bool, cache: Path) -> None:
    """Try packages of environments on a server, and print the table."""
    titles = {each.title for each in packages()}
    wanted = [lambda title, name=name: title == name if name in titles else name in title for name in only]
    table = [each for each in packages() if not only or any(is_wanted(each.title) for is_wanted in wanted)]
    table = [each for each in table if each.quick or not quick]
    if not table:
        raise click.UsageError("no package has that in its name")
    expected = results.stored()["rows"]
    rows: dict[str, Row] = {}
    interpreters: dict[str, tuple[Package, str]] = {}
    for package in table:
        if package.untried:
            continue
        click.echo(f"trying {package.title} …", err=True)
        row = rows[package.title] = {"date": today(), "version": package.version, "environments": {}}
        try:
            python = python_of(package, cache)
            if package.interpreter:
                interpreters[package.title] = package, python
                continue
            options = [word for module in package.imports for word in ("--import", module)]
            variables = {"PYTHONPATH": str(ROOT), **package.variables}
            with (
                tempfile.TemporaryDirectory() as directory,  # packages write where they run
                Server(*options, environment=variables, python=python, directory=directory) as server,
            ):
                try_package(package, python, server.url, row)
        except (InstallError, AssertionError) as error:
            row["problem"] = results.short(f"{type(error).__name__}: {error}")
        if write:
            keep(rows)
    together = try_interpreters(interpreters, rows, lambda: keep(rows) if write else None)
    click.echo(results.text(table, rows))
    if write:
        keep(rows, together)
        for path in DOCUMENTS:
            if (current := updated(path.read_text())) != path.read_text():
                path.write_text(current)
    if check and (found := results.differences([each for each in table if not each.untried], rows, expected)):
        raise click.ClickException("not as in results.json:\n" + "\n".join(found))


def keep(rows: dict[str, Row], together: Sequence[str] = ()) -> None:
    """Write results, beside those of packages that were not tried now."""
    document = results.stored()
    document["machine"] = "{cpu}, {cores} cores, {os}, {kernel}".format(**machine())
    document["rows"] |= {title: row for title, row in rows.items() if row["environments"] or "problem" in row}
    if len(together) >= max(2, len(document["together"]["packages"])):
        document["together"] = {"date": today(), "packages": list(together)}
    results.write(document)


def today() -> str:
    """Return the date."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def try_package(package: Package, python: str, url: str, row: Row) -> None:
    """Try each environment of a package."""
    for env_id in package.ids:
        click.echo(f"  {env_id}", err=True)
        try:
            local: Local = run_locally(package, env_id, python)
        except LocalError as error:
            row["environments"][env_id] = {"problem": f"does not run in its own Python either: {error}"}
            continue
        versions = local["versions"]
        row["python"] = versions.pop("python")
        outcome = run_served(package, env_id, url, local)
        if {outcome["steps"], outcome["frame"]} - set(results.WELL):
            outcome |= varying(outcome, local, run_locally(package, env_id, python))
        row["environments"][env_id] = {**outcome, "versions": versions, "count": package.steps}


def varying(outcome: dict[str, str], local: Local, again: Local) -> dict[str, str]:
    """Return other outcomes for parts that differ between two local runs, too."""
    if json.dumps([local["observation"], local["steps"]]) != json.dumps([again["observation"], again["steps"]]):
        parts = [part for part in results.PARTS if outcome[part] not in results.WELL]
    else:
        parts = ["frame"] if local.get("frame") != again.get("frame") else []
    return dict.fromkeys(parts, f"{results.AS_LOCALLY}: two local runs differ, too")


def try_interpreters(
    interpreters: dict[str, tuple[Package, str]], rows: dict[str, Row], after_each: Callable[[], None]
) -> list[str]:
    """Try the packages that need a Python of their own, all behind one server; return those that it had at once."""
    if not interpreters:
        return []
    options: list[str] = []
    for package, python in interpreters.values():
        options += ["--interpreter", f"{package.slug}={python}"]
        for module in package.imports:
            options += ["--interpreter-import", f"{package.slug}={module}"]
    together = []
    with tempfile.TemporaryDirectory() as directory, Server(*options, directory=directory) as server:
        for package, python in interpreters.values():
            click.echo(f"trying {package.title} …", err=True)
            try_package(package, python, server.url, rows[package.title])
            after_each()
        with contextlib.ExitStack() as stack:
            for package, _ in interpreters.values():
                with contextlib.suppress(Exception):  # its row says why
                    env = RemoteEnv(
                        server.url,
                        package.ids[0],
                        interpreter=package.slug,
                        kwargs=package.kwargs,
                        library=package.library,
                    )
                    stack.callback(env.close)
                    env.reset(seed=SEED)
                    env.step(env.action_space.sample())
                    together.append(package.title)
    return together


if __name__ == "__main__":
    main()
