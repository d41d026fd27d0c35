"""The console: the Flask web app for people. It sees the server only through a `ConsoleView`."""

from __future__ import annotations

from .app import create_console
from .view import ConsoleView, InstanceRow

__all__ = ["ConsoleView", "InstanceRow", "create_console"]
