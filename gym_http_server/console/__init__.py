"""The console: the Flask web app for people. It sees the server only through `ConsoleView` and `Results`."""

from __future__ import annotations

from .app import create_console
from .view import ConsoleView, InstanceRow, Results

__all__ = ["ConsoleView", "InstanceRow", "Results", "create_console"]
