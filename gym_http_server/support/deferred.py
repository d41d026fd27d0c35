"""Modules imported on first use, so that the start of a server does not wait for them."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

__all__ = ["Deferred", "np"]


class Deferred(types.ModuleType):
    """Placeholder that imports a module on the first access of an attribute, and then has its attributes."""

    def __getattr__(self, name: str) -> Any:
        # importlib reads these of every module.
        if name in ("__spec__", "__path__", "__file__", "__wrapped__"):
            raise AttributeError(name)
        module = importlib.import_module(self.__name__)
        self.__dict__.update({**vars(module), **self.__dict__})
        return getattr(module, name)


if TYPE_CHECKING:
    import numpy as np
else:
    np = sys.modules.get("numpy") or Deferred("numpy")
    """numpy, deferred: it takes 0.2 s to import, and a server of the process engine seldom needs it."""
