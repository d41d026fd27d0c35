"""The console: the Flask web app for people."""

from __future__ import annotations

from .app import create_console
from .login import Door
from .pages import ConsoleView, InstanceRow

__all__ = ["ConsoleView", "Door", "InstanceRow", "create_console"]
