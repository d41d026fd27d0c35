"""`gym-http-server check`: the conformity kit from the command line."""

from __future__ import annotations

import importlib
import sys

import click

from ..runtime.making.dependencies import REQUIREMENTS, pip_command
from .exchange import KEY_VARIABLE
from .options import CANNOT_CHECK, Options

GROUPS = ("schema", "sequences", "trajectories", "wire")
_NEEDED = ("hypothesis", "jsonschema", "openapi_schema_validator", "pytest", "requests", "rich", "schemathesis")


@click.command()
@click.argument("url")
@click.option(
    "--api-key",
    envvar=KEY_VARIABLE,
    show_envvar=True,
    help="The key of the server; the variable keeps it out of sight.",
)
@click.option("--only", multiple=True, type=click.Choice(GROUPS), help="Only this group of checks; repeatable.")
@click.option(
    "--examples", type=click.IntRange(1), default=25, show_default=True, help="Generated requests for each operation."
)
@click.option("--seed", type=click.IntRange(0), help="Repeat the run that had this seed.")
@click.option("--with-uploads", is_flag=True, help="Upload a recording, too, which writes an evaluation.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds for an answer."
)
def check(
    url: str,
    api_key: str | None,
    only: tuple[str, ...],
    examples: int,
    seed: int | None,
    with_uploads: bool,
    timeout: float,
) -> int:
    """Check that the server at URL keeps the contract, whoever wrote it and whatever it stands behind.

    Exits with 0 where all held, 1 where something did not, and 2 where it cannot be checked. It closes what it made, asks
    nothing of other instances, and never stops the server.
    """
    if missing := [name for name in _NEEDED if not _is_installed(name)]:
        install = pip_command(*(REQUIREMENTS[name] for name in missing), python=sys.executable)
        return _cannot(f"check needs packages that are not installed ({', '.join(missing)}): {install}")
    # Only now, for every start of a server loads this module.
    from .implementation import Implementation
    from .reach import reach

    try:
        with Implementation(url, api_key or None, timeout) as implementation:
            health = reach(implementation)
    except ValueError as error:
        return _cannot(str(error))

    from .run import run

    groups = tuple(each for each in GROUPS if each in (only or GROUPS))
    options = Options(url, api_key or None, groups, examples, seed, with_uploads, timeout)
    return run(options, health)


def _is_installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True


def _cannot(text: str) -> int:
    click.echo(f"gym-http-server: {text}", err=True)
    return CANNOT_CHECK
