"""Modules that are loaded where something of them is used: what a server's start need not wait for."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

__all__ = ["Deferred", "np"]


class Deferred(types.ModuleType):
    """Stands for a module until something of it is used, and has all that it has from then on."""

    def __getattr__(self, name: str) -> Any:
        # What importlib asks of every module.
        if name in ("__spec__", "__path__", "__file__", "__wrapped__"):
            raise AttributeError(name)
        module = importlib.import_module(self.__name__)
        self.__dict__.update({**vars(module), **self.__dict__})
        return getattr(module, name)


if TYPE_CHECKING:
    import numpy as np
else:
    np = sys.modules.get("numpy") or Deferred("numpy")
    """numpy takes 0.2 s to load and is used beside the environments; a server of the process engine seldom does."""
