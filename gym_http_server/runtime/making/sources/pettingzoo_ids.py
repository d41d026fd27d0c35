"""PettingZoo's own environments: their ids, which are families and modules of its documentation, such as `classic/chess_v6`."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gymnasium.envs.registration import EnvSpec

from .agents import Agents

if TYPE_CHECKING:
    from types import ModuleType

_MPE: Final = (
    *("simple_v3", "simple_adversary_v3", "simple_crypto_v3", "simple_push_v3", "simple_reference_v3"),
    *("simple_speaker_listener_v4", "simple_spread_v3", "simple_tag_v3", "simple_world_comm_v3"),
)
"""Modules of the family `mpe`, which is in mpe2 since PettingZoo 1.25: the error names that package where it is missing."""


def pettingzoo_ids(package: ModuleType) -> dict[str, str]:
    """Return the module of each id."""
    folder = Path(str(package.__file__)).parent
    modules = {f"mpe/{name}": f"mpe2.{name}" for name in _MPE}
    mpe = importlib.util.find_spec("mpe2")
    for path in sorted(Path(str(mpe.origin)).parent.glob("*_v[0-9]*.py")) if mpe is not None else ():
        modules[f"mpe/{path.stem}"] = f"mpe2.{path.stem}"
    for path in sorted(folder.glob("*/*_v[0-9]*.py")):
        modules[f"{path.parent.name}/{path.stem}"] = f"{package.__name__}.{path.parent.name}.{path.stem}"
    return modules


def pettingzoo_specification(package: ModuleType, env_id: str) -> EnvSpec:
    """Return a specification; `kwargs` go to the module's `parallel_env`, or to `env` where its agents act in turn."""
    entry_point: Any = functools.partial(_make, pettingzoo_ids(package)[env_id])
    return EnvSpec(env_id, entry_point=entry_point)


def _make(module: str, *, render_mode: str | None = None, **kwargs: Any) -> Agents:
    imported = importlib.import_module(module)
    make = getattr(imported, "parallel_env", None) or imported.env
    return Agents.of(make(render_mode=render_mode, **kwargs))
