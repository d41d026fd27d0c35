"""`gym-http-server check`: the conformity kit from the command line."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import click

from ..runtime.making.dependencies import REQUIREMENTS, pip_command
from .exchange import KEY_VARIABLE, NoAnswer, Nonconformity, Request
from .ledger import ENVS

if TYPE_CHECKING:
    from .implementation import Implementation

GROUPS = ("schema", "sequences", "trajectories", "wire")
_NEEDED = ("hypothesis", "jsonschema", "openapi_schema_validator", "pytest", "requests", "schemathesis")
_CANNOT_CHECK = 2
_OK, _UNAUTHORIZED = 200, 401


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
    "--operation", "operations", multiple=True, metavar="ID", help="Of schema, only this operation; repeatable."
)
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
    *,
    api_key: str | None,
    only: tuple[str, ...],
    operations: tuple[str, ...],
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
    # Imported here because `--help` of the server loads this module.
    from ..contract import load_contract
    from .implementation import Implementation

    known = {operation["operationId"] for operation in load_contract().operations()}
    if unknown := [operation_id for operation_id in operations if operation_id not in known]:
        return _cannot(f"--operation {unknown[0]} is no operation of the contract, such as stepEnv: see /openapi.yaml")
    try:
        with Implementation(url, api_key or None, timeout) as implementation:
            health = _health(implementation)
    except ValueError as error:
        return _cannot(str(error))

    from .run import run

    options = [f"--gym-examples={examples}", f"--gym-timeout={timeout}"]
    options += [f"--gym-api-key={api_key}"] if api_key else []
    options += [f"--gym-operation={operation_id}" for operation_id in operations]
    options += ["--gym-with-uploads"] if with_uploads else []
    return run(url, seed, [group for group in GROUPS if group in (only or GROUPS)], options, health)


def _health(implementation: Implementation) -> str:
    """Return what an implementation says of itself.

    Raises:
        ValueError: nothing answers there, something else does, or the key is wrong.
    """
    url = implementation.url
    try:
        health = implementation.ask(Request.of("GET", "/v1/health/")).answer
        listed = implementation.ask(Request.of("GET", ENVS)).answer
    except NoAnswer as error:
        raise ValueError(f"cannot reach {url}: {error.came}; is the server running there?") from None
    if _UNAUTHORIZED in (health.status, listed.status):
        given = "another key than the one that was given" if implementation.key_headers else "a key"
        raise ValueError(f"{url} requires {given}: --api-key, or the variable {KEY_VARIABLE}")
    if _OK not in (health.status, listed.status):
        raise ValueError(
            f"what answers at {url} does not look like a gym-http-server: {ENVS} is answered with {listed.status}; "
            "is the path of the URL right?"
        )
    try:
        members = health.json
        return f"it says: version {members['version']}, engine {members['engine']}, {members['instances']} instances"
    except (Nonconformity, KeyError, TypeError):
        return f"it says nothing of itself: /v1/health/ is answered with {health.status}"


def _is_installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True


def _cannot(text: str) -> int:
    click.echo(f"gym-http-server: {text}", err=True)
    return _CANNOT_CHECK
