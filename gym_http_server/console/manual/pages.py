"""The pages of the manual: contents, topics, search, and each topic as Markdown."""

from __future__ import annotations

import flask
from markupsafe import Markup

from .book import CONTENTS, Page, book

MAX_HITS = 30
MAX_QUERY_CHARACTERS = 256

manual = flask.Blueprint("manual", __name__, url_prefix="/manual")


@manual.get("", strict_slashes=False)
def contents() -> str:
    """The contents, or the hits of a search."""
    query = flask.request.args.get("q", "")[:MAX_QUERY_CHARACTERS].strip()
    if query:
        hits = book().search(query, MAX_HITS)
        return flask.render_template("manual.html", **_frame(None, query), hits=hits)
    return _show(book().contents)


@manual.get("/<name>", strict_slashes=False)
def page(name: str) -> str:
    """A topic."""
    return _show(_find(name))


@manual.get("/<name>.md")
def markdown(name: str) -> flask.Response:
    """The Markdown file of a topic, for programs."""
    shown = book().contents if name == CONTENTS else _find(name)
    return flask.Response(shown.source, content_type="text/markdown; charset=utf-8")


def _find(name: str) -> Page:
    shown = book().pages.get(name)
    if shown is None:
        flask.abort(404, f"The manual has no page {name!r}: '/manual' lists them")
    return shown


def _show(shown: Page) -> str:
    # Safe: the files belong to this package.
    html = Markup(book().render(shown, _page_url, _file_url))  # noqa: S704
    return flask.render_template("manual.html", **_frame(shown, ""), html=html)


def _frame(shown: Page | None, query: str) -> dict[str, object]:
    return {"pages": book().pages.values(), "shown": shown, "query": query, "max_characters": MAX_QUERY_CHARACTERS}


def _page_url(name: str) -> str:
    return flask.url_for(".contents") if name == CONTENTS else flask.url_for(".page", name=name)


def _file_url(name: str) -> str:
    version = flask.current_app.extensions["console_view"].version
    return flask.url_for("static", filename=name, v=version)
