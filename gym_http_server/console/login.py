"""Logging in: a person's browser trades the server's key for a session, which opens the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import flask

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

    from .view import Door

login = flask.Blueprint("login", __name__, url_prefix="/login")


def current_door() -> Door:
    """Return the door that the app serving this request was made with."""
    return cast("Door", flask.current_app.extensions["door"])


@login.get("")
def form() -> str | Response:
    """The form that takes the key."""
    if not current_door().is_locked:
        return flask.redirect(flask.url_for("pages.home"), 303)
    return flask.render_template("login.html", following=_local(flask.request.args.get("next", "")), is_wrong=False)


@login.post("")
def enter() -> Response:
    """Begin a session, where the key is right, and go on to the page that was asked for."""
    door = current_door()
    following = _local(flask.request.form.get("next", ""))
    if not door.is_locked:
        return flask.redirect(following, 303)
    if not door.accepts(flask.request.form.get("key", "").strip()):
        door.tell_wrong(flask.request.remote_addr)
        page = flask.render_template("login.html", following=following, is_wrong=True)
        return flask.Response(page, 401, {"WWW-Authenticate": door.challenge}, content_type="text/html; charset=utf-8")
    response = flask.redirect(following, 303)
    response.set_cookie(
        door.cookie,
        door.begin(),
        max_age=door.seconds,
        secure=flask.request.is_secure,
        httponly=True,
        samesite="Strict",
    )
    return response


@login.post("/end")
def leave() -> Response:
    """End the session in this browser."""
    response = flask.redirect(flask.url_for("login.form"), 303)
    response.delete_cookie(current_door().cookie, httponly=True, samesite="Strict")
    return response


@login.get("/<any('console.css', 'icon.svg'):name>")
def file(name: str) -> Response:
    """Return one of the files of the form, which are open as it is."""
    return flask.current_app.send_static_file(name)


def _local(path: str) -> str:
    """Return a path of this server, and the home page instead of anything else."""
    is_local = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable()
    return path if is_local else flask.url_for("pages.home")
