"""Login pages: a browser exchanges the server's key for a session cookie, which opens the other pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import flask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from werkzeug.wrappers import Response

_HTML = "text/html; charset=utf-8"

login = flask.Blueprint("login", __name__, url_prefix="/login")


@dataclass(frozen=True, slots=True)
class Door:
    """Keys and sessions of the server. Its functions are thread-safe.

    Attributes:
        is_locked: whether the server requires a key.
        cookie: name of the session cookie.
        seconds: lifetime of a session.
        challenge: value of `WWW-Authenticate`.
        accepts: returns whether a key is the server's.
        begin: starts a session and returns the value of its cookie.
        end: ends the sessions in a `Cookie` header.
    """

    is_locked: bool
    cookie: str
    seconds: int
    challenge: str
    accepts: Callable[[str], bool]
    begin: Callable[[], str]
    end: Callable[[str], None]


def _door() -> Door:
    return cast("Door", flask.current_app.extensions["door"])


@login.get("")
def form() -> str | Response:
    """The form for the key."""
    if not _door().is_locked:
        return flask.redirect(flask.url_for("pages.home"), 303)
    return _form(flask.request.args.get("next", ""))


@login.post("")
def enter() -> Response:
    """Start a session if the key is right, and redirect to the page that was requested first."""
    door = _door()
    following = flask.request.form.get("next", "")
    response = flask.redirect(_local(following), 303)
    if not door.is_locked:
        return response
    if not door.accepts(flask.request.form.get("key", "").strip()):
        return challenge(following, {"WWW-Authenticate": door.challenge}, is_wrong=True)
    response.set_cookie(
        door.cookie,
        door.begin(),
        max_age=door.seconds,
        path=flask.request.script_root or "/",
        secure=flask.request.is_secure,
        httponly=True,
        samesite="Strict",
    )
    return response


@login.post("/end")
def leave() -> Response:
    """End the session: the cookie becomes invalid for everybody who has it."""
    door = _door()
    door.end(flask.request.headers.get("Cookie", ""))
    response = flask.redirect(flask.url_for("login.form"), 303)
    response.delete_cookie(door.cookie, path=flask.request.script_root or "/", httponly=True, samesite="Strict")
    return response


@login.get("/<any('console.css', 'icon.svg'):name>")
def file(name: str) -> Response:
    """Return a file of the form, which needs no key either."""
    return flask.current_app.send_static_file(name)


def challenge(following: str, headers: Mapping[str, str], *, is_wrong: bool = False) -> flask.Response:
    """Return the form as a 401.

    Args:
        following: path to redirect to after the login.
        headers: headers of the response.
        is_wrong: say that the key was wrong.
    """
    return flask.Response(_form(following, is_wrong=is_wrong), 401, headers, content_type=_HTML)


def _form(following: str, *, is_wrong: bool = False) -> str:
    return flask.render_template("login.html", following=following, is_wrong=is_wrong)


def _local(path: str) -> str:
    """Return the URL of a path of this server, or the home page's for anything else."""
    is_local = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable()
    return flask.request.script_root + path if is_local else flask.url_for("pages.home")
