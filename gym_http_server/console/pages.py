"""The pages of the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import flask

if TYPE_CHECKING:
    from .view import ConsoleView

# A page of thousands of rows, fetched every two seconds, would help nobody.
MAX_ROWS = 200

pages = flask.Blueprint("pages", __name__)


def current_view() -> ConsoleView:
    """Return the view that the app serving this request was made with."""
    return cast("ConsoleView", flask.current_app.extensions["console_view"])


@pages.get("/")
def home() -> str:
    """The home page: what the server is, what lives on it, and where to go."""
    view = current_view()
    rows = sorted(view.instances(), key=lambda row: (row.created_at, row.instance_id), reverse=True)
    return flask.render_template(
        "home.html",
        version=view.version,
        engine=view.engine,
        started_at=view.started_at,
        libraries=view.libraries(),
        rows=rows[:MAX_ROWS],
        count=len(rows),
        steps=sum(row.steps for row in rows),
        # Where the reader reaches the server, which behind a proxy is not where it listens.
        address=flask.request.url_root.rstrip("/"),
    )
