"""The console: the Flask web app for people."""

from __future__ import annotations

from .app import create_console
from .login import Door
from .pages import ClusterFacts, ConsoleView, InstanceRow, ShardRow

__all__ = ["ClusterFacts", "ConsoleView", "Door", "InstanceRow", "ShardRow", "create_console"]
