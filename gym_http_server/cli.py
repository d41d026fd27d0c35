"""The command `gym-http-server`: settings as options and environment variables, errors as one line.

Without a subcommand it serves; `spec` prints the contract, `check` checks a server against it, `replay` and
`export` work with recordings, `mcp` speaks MCP over standard input and output.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
import os
import shlex
import signal
import sys
import typing
from typing import Any, Final

import click

from .config import ENVIRONMENT_PREFIX, Settings, option_name, variable_name
from .errors import GymHttpServerError
from .support.surroundings import open_standard_descriptors, say, working_directory

PROGRAM = "gym-http-server"

_ELSEWHERE: Final = {
    "check": ".conformity.command",
    "export": ".commands.export",
    "mcp": ".commands.mcp",
    "replay": ".commands.replay",
}
"""Modules of subcommands."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command; exits with status 0, with 1 if the server cannot start, or with 2 for wrong usage."""
    open_standard_descriptors()
    try:
        status = command().main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        _fail(f"{error.format_message()} (try '{PROGRAM} --help')", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (GymHttpServerError, ValueError) as error:
        _fail(str(error), 1)
    sys.exit(status or 0)


def command() -> click.Group:
    """Return the command with an option for each setting."""
    hints = typing.get_type_hints(Settings)
    options: list[click.Parameter] = [_option(each, hints[each.name]) for each in dataclasses.fields(Settings)]
    options.append(
        click.Option(
            ["-v", "--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_tell_version,
            help="Show the version.",
        )
    )
    return Commands(
        PROGRAM,
        params=options,
        callback=serve,
        commands=[spec],
        invoke_without_command=True,
        subcommand_metavar="[COMMAND]",
        help="Serve any OpenAI Gym or Gymnasium environment over HTTP.",
        epilog=f"Each option is also an environment variable, such as {ENVIRONMENT_PREFIX}PORT.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class Commands(click.Group):
    """The subcommands; those of other modules are imported only when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted({*super().list_commands(ctx), *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, or None."""
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(importlib.import_module(_ELSEWHERE[cmd_name], __package__), cmd_name)
        return found


class Quoted(click.types.StringParamType):
    """Texts with blanks; several in an environment variable are quoted as in a shell."""

    def split_envvar_value(self, rv: str) -> list[str]:
        """Return the texts in the value of a variable."""
        try:
            return shlex.split(rv)
        except ValueError as error:
            raise click.BadParameter(f"{rv!r}: {error}; quote values with blanks as in a shell") from None


def _tell_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        from . import __version__

        click.echo(f"{PROGRAM} {__version__}")
        context.exit()


@click.command()
@click.option(
    "--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="Its form."
)
def spec(form: str) -> None:
    """Print the OpenAPI contract that the server keeps, to make clients of."""
    from .contract import load_contract

    contract = load_contract()
    click.echo(contract.text if form == "yaml" else contract.json + b"\n", nl=False)


@click.pass_context
def serve(context: click.Context, /, **options: Any) -> None:
    """Serve with these settings and say where, unless a command is to do something else."""
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    here = working_directory()
    if (options["imports"] or options["env"]) and here is not None and here not in sys.path and not sys.flags.safe_path:
        # To import modules from the working directory; last, because files there may have the names of libraries.
        sys.path.append(here)
    if context.invoked_subcommand is not None:
        return
    settings = Settings(**options)

    # Until the server handles the signals.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)

    logging.captureWarnings(capture=True)

    from .server import start_server

    def announce(url: str) -> None:
        from . import __version__

        lines = (
            f"{PROGRAM} {__version__} listening on {url} ({settings.engine} engine; Ctrl-C stops it)",
            f"  home page  {url}/",
            f"  API page   {url}/ui/",
            f"  contract   {url}/openapi.yaml",
        )
        all(say(line, sys.stdout) for line in lines)  # stops when nobody reads stdout

    start_server(on_start=announce, **dataclasses.asdict(settings))


def _end(number: int, _frame: object) -> None:
    """Exit at once and quietly. An exception might be swallowed where the signal arrives, such as in an import."""
    module = sys.modules.get("gym_http_server.engines.process.fork_server_process")
    kill_fork_servers = getattr(module, "kill_fork_servers", None)
    if kill_fork_servers is not None:  # else nothing has been started: the module may be half imported
        kill_fork_servers()
    module = sys.modules.get("gym_http_server.interpreters.requirements")
    kill_installations = getattr(module, "kill_installations", None)
    if kill_installations is not None:
        kill_installations()
    os._exit(128 + number)


def _option(each: dataclasses.Field[Any], hint: Any) -> click.Option:
    meta = each.metadata
    multiple = typing.get_origin(hint) is tuple
    is_flag = hint is bool or each.default is None
    kind: click.ParamType[Any] | type | None = click.Choice(meta["choices"]) if meta["choices"] else hint
    # Several paths in a variable are separated as in PATH, other values by blanks.
    each_kind: click.ParamType[Any] | type = (
        click.Path() if meta["is_path"] else Quoted() if meta["is_command"] else str
    )
    default = each.default if each.default is not dataclasses.MISSING else typing.cast("Any", each.default_factory)()
    option = option_name(each.name)
    declared = f"{option}/--no-{option[2:]}" if is_flag and default is not False else option
    unit = f" ({meta['unit']})" if meta["unit"] else ""
    return click.Option(
        [*(flag for flag in meta["flags"] if flag != option), declared, each.name],
        help=meta["text"].removesuffix(".") + unit + ".",
        type=None if is_flag else each_kind if multiple else kind,
        is_flag=is_flag,
        multiple=multiple,
        default=default,
        show_default=not multiple and not is_flag and default != "",
        envvar=variable_name(each.name),
        show_envvar=True,
    )


def _fail(text: str, status: int) -> typing.NoReturn:
    click.echo(f"{PROGRAM}: {' '.join(text.split())}", err=True)
    sys.exit(status)
