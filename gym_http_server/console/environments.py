"""The page of registered environments, with a search and the packages that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import flask

from ..runtime.registry.registry import matching

if TYPE_CHECKING:
    from ..runtime.registry.registry import Registry

ROWS = 100
LIBRARIES = ("gymnasium", "gym")
MAX_SEARCH_CHARACTERS = 256
# The imports take less on most machines; a page that takes longer looks broken.
WAIT_SECONDS = 8.0
RELOAD_SECONDS = 2

environments = flask.Blueprint("environments", __name__)


@environments.get("/environments", strict_slashes=False)
def listing() -> flask.Response:
    """A page of the registered environments, or, while the registry is not read yet, a 503 that reloads itself."""
    arguments = flask.request.args
    q = arguments.get("q", "")[:MAX_SEARCH_CHARACTERS]
    library = arguments.get("library") if arguments.get("library") in LIBRARIES else None
    try:
        registry = cast("Registry", flask.current_app.extensions["registry"])
        registered = registry.environments().result(WAIT_SECONDS)
    except TimeoutError:
        response = _page(q, library, None)
        response.status_code = 503
        response.headers["Refresh"] = response.headers["Retry-After"] = str(RELOAD_SECONDS)
        return response
    found = matching(registered, q, library)
    last = max(1, -(-len(found) // ROWS))
    number = min(max(arguments.get("page", 1, type=int), 1), last)
    begin = (number - 1) * ROWS
    return _page(
        q,
        library,
        found[begin : begin + ROWS],
        begin=begin,
        count=len(found),
        installed=sum(environment.installed for environment in found),
        pages=[page if 1 <= page <= last else None for page in (number - 1, number + 1)],
    )


def _page(q: str, library: str | None, rows: object, **further: object) -> flask.Response:
    return flask.make_response(
        flask.render_template(
            "environments.html",
            q=q,
            library=library,
            libraries=LIBRARIES,
            max_characters=MAX_SEARCH_CHARACTERS,
            rows=rows,
            **further,
        )
    )
