"""What a shard tells the router of its cluster for its pages. It is no operation: the contract is for clients."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import flask

from .pages import MAX_ROWS, InstanceRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .pages import ConsoleView

shard = flask.Blueprint("shard", __name__)


@shard.get("/shard/overview")
def overview() -> dict[str, Any]:
    """Return the number of instances and of their steps, the libraries, and rows of the newest instances."""
    view = cast("ConsoleView", flask.current_app.extensions["console_view"])
    count, steps = view.sums()
    return {
        "count": count,
        "steps": steps,
        "libraries": view.libraries(),
        "newest": [_plain(row) for row in view.newest(MAX_ROWS)],
        "watchable": [_plain(row) for row in view.watchable(MAX_ROWS)],
    }


def row_of(told: Mapping[str, Any]) -> InstanceRow:
    """Return the row that `overview` told."""
    moments = {name: datetime.fromisoformat(told[name]) for name in ("created_at", "last_used_at")}
    return InstanceRow(**{**told, **moments})


def _plain(row: InstanceRow) -> dict[str, Any]:
    told = {each.name: getattr(row, each.name) for each in dataclasses.fields(row)}
    # The arguments that made it are needed on its own page only.
    return {
        **told,
        "created_at": row.created_at.isoformat(),
        "last_used_at": row.last_used_at.isoformat(),
        "labels": dict(row.labels),
        "origin": {},
    }
