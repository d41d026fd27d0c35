"""`create_console`: the Flask app, its headers and its error pages."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

import flask
from jinja2 import StrictUndefined
from werkzeug.exceptions import (
    BadGateway,
    BadRequest,
    Forbidden,
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
)

from ..errors import (
    ForbiddenDirectoryError,
    InquiryFailedError,
    InvalidValueError,
    NoRecordingError,
    UnknownEpisodeError,
    UnknownEvaluationError,
    UploadTargetError,
)
from .environments import environments
from .formatting import age, day, duration, minute, number, since, threshold
from .instances import instances
from .login import challenge, login
from .making import making
from .manual import manual
from .pages import pages
from .recordings import recordings
from .scoreboard import scoreboard
from .shard import shard

if TYPE_CHECKING:
    from ..interpreters.interpreters import Interpreters
    from ..results.scoreboard import Results
    from ..runtime.registry.registry import Registry
    from ..verification.verifier import Replays
    from .login import Door
    from .pages import ConsoleView

# Pages show text of clients (environment ids): only this app's own files may run or style them.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer` a browser would post this app's forms with `Origin: null`, like a foreign page's.
    "Referrer-Policy": "same-origin",
}
_PROBLEM_JSON = "application/problem+json"
_HTML = "text/html; charset=utf-8"
PROBLEM = "gym_http_server.problem"
"""Key in the WSGI environ: status, detail and headers of the error to show, whatever was requested."""


def create_console(
    view: ConsoleView,
    results: Results | None = None,
    door: Door | None = None,
    registry: Registry | None = None,
    interpreters: Interpreters | None = None,
    replays: Replays | None = None,
    *,
    is_shard: bool = False,
    is_router: bool = False,
) -> flask.Flask:
    """Return the Flask app.

    Args:
        view: the server.
        results: the evaluations; None for no scoreboard.
        door: keys and sessions; None for no login.
        registry: the environments that can be made; None for no list of them.
        interpreters: the interpreters whose environments are listed, too.
        replays: replays trajectories of evaluations; None for no button that verifies.
        is_shard: whether it tells the router of its cluster what that shows.
        is_router: whether shards of a cluster serve the pages of evaluations and of the registry, to which this app only links.
    """
    app = flask.Flask("gym_http_server.console")
    # The gate answers preflights; any other OPTIONS is a wrong method.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # A misspelt name in a template raises, so that a test fails.
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    for filter_ in (age, day, duration, minute, number, since, threshold):
        app.jinja_env.filters[filter_.__name__] = filter_
    app.extensions["console_view"] = view
    app.extensions["interpreters"] = interpreters
    app.register_blueprint(pages)
    app.register_blueprint(instances)
    app.register_blueprint(making)
    app.register_blueprint(manual)
    if is_shard:
        app.register_blueprint(shard)
    if results is not None or is_router:
        app.extensions["results"] = results
        app.extensions["replays"] = replays
        app.register_blueprint(scoreboard)
        app.register_blueprint(recordings)
    if registry is not None or is_router:
        app.extensions["registry"] = registry
        app.register_blueprint(environments)
    if door is not None:
        app.extensions["door"] = door
        app.register_blueprint(login)
    app.before_request(_refuse)
    # Flask logs an unexpected exception and calls this with an InternalServerError.
    app.register_error_handler(HTTPException, _on_error)
    for kind in (UnknownEvaluationError, UnknownEpisodeError, NoRecordingError):
        app.register_error_handler(kind, lambda error: _on_error(NotFound(error.detail)))
    app.register_error_handler(ForbiddenDirectoryError, lambda error: _on_error(Forbidden(error.detail)))
    app.register_error_handler(InvalidValueError, lambda error: _on_error(BadRequest(error.detail)))
    app.register_error_handler(UploadTargetError, lambda error: _on_error(BadGateway(_unreachable(error))))
    app.register_error_handler(InquiryFailedError, lambda error: _on_error(BadGateway(error.detail)))
    app.after_request(_add_headers)
    app.context_processor(
        lambda: {
            "server_version": view.version,
            "has_scoreboard": results is not None or is_router,
            "has_registry": registry is not None or is_router,
            "is_locked": door is not None and door.is_locked,
            "is_logged_out": flask.request.blueprint == "login" or flask.request.environ.get(PROBLEM) is not None,
            "file_url": _file_url,
        }
    )
    return app


def _file_url(name: str) -> str:
    """Return the URL of a file of every page; with a login one that needs no key, as the form and some errors need none."""
    version = flask.current_app.extensions["console_view"].version
    if "login" in flask.current_app.blueprints:
        return flask.url_for("login.file", name=name, v=version)
    return flask.url_for("static", filename=name, v=version)


def _refuse() -> flask.Response | None:
    """Answer a request that is refused before routing; see `PROBLEM`."""
    problem = flask.request.environ.get(PROBLEM)
    if problem is None:
        return None
    status, detail, headers = problem
    if status == 401:
        return challenge(flask.request.path if flask.request.method in ("GET", "HEAD") else "", headers)
    return flask.Response(_error_page(status, HTTPStatus(status).phrase, detail), status, headers, content_type=_HTML)


def _error_page(status: int, title: str, detail: str) -> str:
    return flask.render_template("error.html", status=status, title=title, detail=detail)


def _on_error(error: HTTPException) -> flask.Response | HTTPException:
    if error.response is not None or error.code is None:
        return error
    status, title, detail = error.code, error.name, _detail(error)
    if _prefers_html():
        response = flask.Response(_error_page(status, title, detail), status, content_type=_HTML)
    else:
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, "message": detail}
        response = flask.Response(json.dumps(problem), status, content_type=_PROBLEM_JSON)
    for name, value in error.get_headers():
        # Others, such as Retry-After, are kept.
        if name.lower() not in {"content-type", "content-length"}:
            response.headers.add(name, value)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _unreachable(error: UploadTargetError) -> str:
    return f"Where this server keeps results cannot be reached: {error.detail}"


def _detail(error: HTTPException) -> str:
    request = flask.request
    own_words = error.description
    if own_words and own_words != type(error).description:
        return own_words
    # Werkzeug's texts are for a person who mistyped an address; these are for programs, too.
    if isinstance(error, NotFound):
        return f"Nothing is served at {request.path!r}: the operations are under '/v1/', and '/ui/' lists them"
    if isinstance(error, MethodNotAllowed):
        methods = ", ".join(sorted(error.valid_methods or ()))
        return f"{request.method} is not served at {request.path!r}: it takes {methods}"
    if isinstance(error, InternalServerError):
        return "The page could not be made: the server's log says why"
    return own_words or error.name


def _prefers_html() -> bool:
    accepted = flask.request.accept_mimetypes
    return accepted["text/html"] > max(accepted[_PROBLEM_JSON], accepted["application/json"])


def _add_headers(response: flask.Response) -> flask.Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if flask.request.endpoint not in ("static", "login.file") or flask.request.environ.get(PROBLEM) is not None:
        response.headers.setdefault("Cache-Control", "no-store")
        response.vary.add("Accept")
    return response
