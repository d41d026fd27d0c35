"""The page of registered environments, with a search and the packages that are missing."""

from __future__ import annotations

import concurrent.futures
import time
from typing import TYPE_CHECKING, cast

import flask

from ..interpreters.interpreters import listed
from ..runtime.messages import LIBRARIES
from ..runtime.registry.registry import REGISTRATIONS, matching, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..interpreters.interpreters import Interpreters, InterpreterState
    from ..runtime.registry.registered import RegisteredEnv
    from ..runtime.registry.registry import Registry

ROWS = 100
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
    interpreters = cast("Interpreters | None", flask.current_app.extensions["interpreters"])
    names = () if interpreters is None else interpreters.names
    interpreter = arguments.get("interpreter") if arguments.get("interpreter") in names else None
    shown = {"q": q, "library": library, "interpreter": interpreter, "interpreters": names}
    try:
        registered, libraries, states = _registered(interpreters, interpreter, library)
    except TimeoutError:
        response = _page(shown, None)
        response.status_code = 503
        response.headers["Refresh"] = response.headers["Retry-After"] = str(RELOAD_SECONDS)
        return response
    found = matching(registered, q, library)
    last = max(1, -(-len(found) // ROWS))
    number = min(max(arguments.get("page", 1, type=int), 1), last)
    begin = (number - 1) * ROWS
    return _page(
        shown,
        found[begin : begin + ROWS],
        states=[
            (kind, each)
            for kind, asked in (("Library", libraries), ("Interpreter", states))
            for each in asked
            if each.state != "ready"
        ],
        begin=begin,
        count=len(found),
        installed=sum(environment.installed for environment in found),
        pages=[page if 1 <= page <= last else None for page in (number - 1, number + 1)],
    )


def _registered(
    interpreters: Interpreters | None, name: str | None, library: str | None
) -> tuple[Iterable[RegisteredEnv], list[InterpreterState], list[InterpreterState]]:
    """Return the environments of an interpreter, or of all and of the server's own Python; the states of libraries and of those.

    Raises:
        TimeoutError: what Gymnasium and gym register is not read yet.
        InquiryFailedError: it cannot be, and nothing else is known.
    """
    end = time.monotonic() + WAIT_SECONDS
    asked = {} if interpreters is None else interpreters.ask(name)
    registry = cast("Registry", flask.current_app.extensions["registry"])
    own = registry.ask(library) if name is None else {}
    registered = own.get(REGISTRATIONS)
    if registered is not None:
        registered.exception(WAIT_SECONDS)
    concurrent.futures.wait([*own.values(), *asked.values()], max(0.0, end - time.monotonic()))
    environments, libraries = listed(own)
    others, states = listed(asked)
    if registered is not None and not any(each.state == "ready" for each in (*libraries, *states)):
        registered.result()
    return merged(environments, others), libraries, states


def _page(shown: Mapping[str, object], rows: object, **further: object) -> flask.Response:
    return flask.make_response(
        flask.render_template(
            "environments.html",
            **shown,
            libraries=LIBRARIES,
            max_characters=MAX_SEARCH_CHARACTERS,
            rows=rows,
            **further,
        )
    )
