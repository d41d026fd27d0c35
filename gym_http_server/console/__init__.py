"""The console: the Flask web app for people. It sees the server only through `ConsoleView` and `ResultsView`."""

from __future__ import annotations

from .app import create_console
from .view import ConsoleView, InstanceRow, ResultsView

__all__ = ["ConsoleView", "InstanceRow", "ResultsView", "create_console"]
