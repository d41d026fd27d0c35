"""Engines: where instances run, behind the interface of `base.py`. No HTTP.

An engine is imported on first use, so that one which this platform cannot run costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config import Settings
    from .base import Engine
    from .process.fork_server import Entry
    from .process.fork_server_process import ForkServerProcess


def make_engine(settings: Settings, entry: Entry | None = None, fork_server: ForkServerProcess | None = None) -> Engine:
    """Return the engine that the settings name, not yet started.

    Args:
        settings: the server's settings.
        entry: what an environment's process runs (process engine); None for a loop that only answers the server.
        fork_server: the process of the fork server, if it is already started (process engine).
    """
    if settings.engine == "inline":
        from .inline import InlineEngine

        return InlineEngine(settings)
    from .process.engine import ProcessEngine

    return ProcessEngine(settings, entry, fork_server)
