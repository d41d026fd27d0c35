"""Use any OpenAI Gym or Gymnasium environment over HTTP, from any language.

Importing this package loads neither connexion nor gym: what it exports is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app as create_app
    from .config import Settings as Settings
    from .errors import GymHttpServerError as GymHttpServerError
    from .errors import NoRecordingError as NoRecordingError
    from .errors import StartError as StartError
    from .results.recording import load_results as load_results
    from .server import start_server as start_server

_HOME_OF = {
    "GymHttpServerError": ".errors",
    "NoRecordingError": ".errors",
    "Settings": ".config",
    "StartError": ".errors",
    "create_app": ".app",
    "load_results": ".results.recording",
    "start_server": ".server",
}

__all__ = [
    "GymHttpServerError",
    "NoRecordingError",
    "Settings",
    "StartError",
    "__version__",
    "create_app",
    "load_results",
    "start_server",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("gym-http-server")
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
