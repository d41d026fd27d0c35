"""`gym-http-server export`: recorded trajectories as a dataset of another format."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .. import __version__
from ..client import ServerProblem
from ..datasets.export_directory import ExportDirectory
from ..datasets.minari_format import ROOT_VARIABLE, dataset_id, datasets_root
from ..datasets.replay import repeated
from ..datasets.spool import Spool
from ..datasets.survey import Survey
from ..errors import ExportError, MissingDependencyError
from ..results.trajectories import open_trajectories
from ..runtime.making.dependencies import REQUIREMENTS, package_of, pip_command
from .progress import bar
from .remaking import remake, server_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..results.trajectories import RecordedEpisode, Trajectories

NEEDED: Final = {"minari": ("minari", "h5py"), "lerobot": ("pyarrow",), "parquet": ("pyarrow",)}
"""Modules that a format needs."""


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--to", "form", type=click.Choice(list(NEEDED)), required=True, help="The format.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The dataset's directory, which is made. By default the name of DIRECTORY and of the format, here; for minari "
    "the name and -v0 in Minari's own directory.",
)
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@click.option("--fps", type=click.IntRange(1), default=30, show_default=True, help="Steps a second (lerobot).")
@click.option("--task", default="", help="What was to be done, in words (lerobot); by default the environment's id.")
@click.option("--url", help="Server that repeats a recording of actions alone; by default one is started for it.")
@click.option("--api-key", envvar="GYM_HTTP_SERVER_API_KEY", show_envvar=True, help="The key of that server.")
@click.pass_context
def export(
    context: click.Context,
    directory: Path,
    form: str,
    output: Path | None,
    *,
    force: bool,
    fps: int,
    task: str,
    url: str | None,
    api_key: str | None,
) -> None:
    """Write the trajectories recorded in DIRECTORY as a dataset.

    A recording of actions alone is repeated first, which makes the observations and infos again.
    """
    require(form)
    settings: dict[str, Any] = {} if context.parent is None else context.parent.params
    with open_trajectories(directory) as trajectories, contextlib.ExitStack() as stack:
        target = Path(output or _default_output(form, directory))
        facts = {"format": form, "recording": str(directory.resolve()), "version": __version__}
        name = dataset_id(target.absolute()) if form == "minari" else ""
        exported = ExportDirectory(target, force=force, facts=facts)
        episodes: Iterable[RecordedEpisode] = trajectories
        if trajectories.kept == "actions":
            episodes = stack.enter_context(_made_again(trajectories, url, api_key, settings))
        survey = Survey()
        for episode in bar(episodes, "reading", "episodes"):
            survey.add(episode)
        if not survey.episodes and form != "parquet":
            raise ExportError(
                f"no episode in {directory} has ended, and {form} has complete episodes: export to parquet"
            )
        total = survey.episodes + survey.incomplete
        with exported:
            shown = bar(episodes, "writing", "episodes", total)
            notes = list(trajectories.notes)
            if form == "minari":
                from ..datasets import minari_format

                notes += import_modules(settings.get("imports", ()))
                notes += minari_format.write(exported.part, name, trajectories, survey, shown)
            elif form == "lerobot":
                from ..datasets import lerobot_format

                notes += lerobot_format.write(exported.part, survey, shown, fps=fps, task=task or trajectories.env_id)
            else:
                from ..datasets import parquet_format

                parquet_format.write(exported.part, parquet_format.description_of(trajectories), survey, shown)
    for note in notes:
        click.echo(f"left out: {note}", err=True)
    click.echo(_told(form, exported.path, name, survey))


def require(form: str) -> None:
    """Check that the packages are installed that a format needs.

    Raises:
        MissingDependencyError: one is not.
    """
    missing = [name for name in NEEDED[form] if importlib.util.find_spec(name) is None]
    if missing:
        requirements = [REQUIREMENTS[name] for name in missing]
        raise MissingDependencyError(
            f"an export to {form} needs packages that are not installed ({', '.join(missing)}): "
            f"{pip_command(*requirements, python=sys.executable)}",
            package=package_of(requirements[0]),
        )


def _made_again(trajectories: Trajectories, url: str | None, api_key: str | None, settings: dict[str, Any]) -> Spool:
    """Return the episodes of a recording of actions with their observations and infos.

    Raises:
        ExportError: they cannot be made again.
    """
    try:
        with server_at(url, api_key, settings) as (server, key):
            again = repeated(trajectories, lambda: remake(trajectories, server, key), is_kept=True)
            return Spool(bar(again, "repeating", "episodes"))
    except (ServerProblem, OSError) as error:
        raise ExportError(
            f"the recording has actions alone, and its environment cannot be made again: {error}"
        ) from None


def import_modules(names: Iterable[str]) -> list[str]:
    """Import modules that register environments, so that their specs are known; return which cannot be imported."""
    notes = []
    for name in names:
        try:
            importlib.import_module(name.partition(":")[0])
        except Exception as error:  # noqa: BLE001 -- third-party code may raise anything
            notes.append(f"what {name} registers: {type(error).__name__}: {error}")
    return notes


def _default_output(form: str, directory: Path) -> Path:
    name = re.sub(r"[^-\w]", "-", directory.resolve().name) or "recording"
    return datasets_root() / f"{name}-v0" if form == "minari" else Path(f"{name}-{form}")


def _told(form: str, path: Path, name: str, survey: Survey) -> str:
    """Return what was written, and how it is loaded."""
    text = f"{path}: {survey.episodes} episodes"
    if form == "minari":
        root = str(path).removesuffix(f"/{name}")
        where = "" if Path(root) == datasets_root().absolute() else f"{ROOT_VARIABLE}={root} "
        return f"{text}; {where}minari.load_dataset({name!r})"
    return text
