"""`gym-http-server replay`: repeats what was recorded, and says whether it comes out the same."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from ..client import ServerProblem
from ..datasets.replay import replay as repeat
from ..errors import GymHttpServerError
from ..results.trajectories import open_trajectories
from .progress import bar
from .remaking import remake, server_at

_RESULTS: Final = ("equal", "different", "impossible")
_CANNOT_REPEAT: Final = 2


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--url", help="Server to make the environment on; by default one is started for it.")
@click.option("--api-key", envvar="GYM_HTTP_SERVER_API_KEY", show_envvar=True, help="The key of that server.")
@click.option("--quiet", is_flag=True, help="Print only what is not equal, and the sum.")
@click.pass_context
def replay(context: click.Context, directory: Path, url: str | None, api_key: str | None, quiet: bool) -> int:
    """Make the environment of the recording in DIRECTORY again, and repeat seeds and actions.

    Says for each episode whether observations, rewards and ends are equal to the bit. Exits with 0 where all are, 1 where
    one is not, and 2 where one cannot be repeated. A server of its own has the settings before the command, as in
    `gym-http-server --import my_envs replay recording`.
    """
    counts = dict.fromkeys(_RESULTS, 0)
    try:
        settings = {} if context.parent is None else context.parent.params
        with open_trajectories(directory) as trajectories, server_at(url, api_key, settings) as (server, key):
            verdicts = repeat(trajectories, lambda: remake(trajectories, server, key))
            for verdict in bar(verdicts, "repeating", "episodes"):
                counts[verdict.result] += 1
                if not quiet or verdict.result != "equal":
                    click.echo(f"episode {verdict.number}: {verdict}")
            for note in trajectories.notes:
                click.echo(f"left out: {note}", err=True)
    except (GymHttpServerError, ServerProblem, OSError, ValueError) as error:
        click.echo(f"gym-http-server: cannot repeat {directory}: {' '.join(str(error).split())}", err=True)
        return _CANNOT_REPEAT
    click.echo(", ".join(f"{count} {result}" for result, count in counts.items()))
    if not sum(counts.values()):
        click.echo(f"gym-http-server: there is no episode in {directory}", err=True)
        return _CANNOT_REPEAT
    return 1 if counts["different"] else _CANNOT_REPEAT if counts["impossible"] else 0
