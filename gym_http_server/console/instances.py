"""The pages of one instance, live or closed, and of all that can be watched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import flask
from werkzeug.exceptions import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .pages import ConsoleView

RATES = (0, 1, 2, 5, 10, 15, 30)
"""Frames a second that a viewer can choose."""
DEFAULT_RATE = 10
MAX_TILES = 200

instances = flask.Blueprint("instances", __name__)


def _view() -> ConsoleView:
    return cast("ConsoleView", flask.current_app.extensions["console_view"])


@instances.get("/instances/<instance_id>", strict_slashes=False)
def instance(instance_id: str) -> str:
    """The page of an instance: what it shows now, or how it ended."""
    row = _view().find(instance_id)
    if row is not None:
        return flask.render_template(
            "instance.html", row=row, rates=RATES, rate=DEFAULT_RATE, another=_another(row.origin)
        )
    closed = _view().find_closed(instance_id)
    if closed is not None:
        return flask.render_template("closed_instance.html", closed=closed, another=_another(closed.metadata.origin))
    detail = f"No instance is or was called {instance_id!r}, as far as this server remembers: it keeps the latest closed ones"
    raise NotFound(detail)


@instances.get("/watch", strict_slashes=False)
def watch() -> str:
    """The page with the frames of all instances that render."""
    return flask.render_template("watch.html", rows=_view().watchable(MAX_TILES))


def _another(origin: Mapping[str, Any]) -> str:
    """Return the address of the form that makes an instance, filled with the arguments that made another; empty without."""
    if not origin:
        return ""
    asked: dict[str, Any] = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in origin.items()
    }
    return flask.url_for("making.new", **asked)
