"""Logging in: a person's browser trades the server's key for a session, which opens the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import flask

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

    from .view import Door, Refusal

login = flask.Blueprint("login", __name__, url_prefix="/login")


def current_door() -> Door:
    """Return the door that the app serving this request was made with."""
    return cast("Door", flask.current_app.extensions["door"])


@login.get("")
def form() -> str | Response:
    """The form that takes the key."""
    if not current_door().is_locked:
        return flask.redirect(flask.url_for("pages.home"), 303)
    return _form(flask.request.args.get("next", ""))


@login.post("")
def enter() -> Response:
    """Begin a session, where the key is right, and go on to the page that was asked for."""
    door = current_door()
    following = flask.request.form.get("next", "")
    response = flask.redirect(_local(following), 303)
    if not door.is_locked:
        return response
    if not door.accepts(flask.request.form.get("key", "").strip()):
        headers = {"WWW-Authenticate": door.challenge}
        return flask.Response(_form(following, is_wrong=True), 401, headers, content_type="text/html; charset=utf-8")
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
    """End the session, in this browser and for whoever else has its cookie."""
    door = current_door()
    door.end(flask.request.headers.get("Cookie", ""))
    response = flask.redirect(flask.url_for("login.form"), 303)
    response.delete_cookie(door.cookie, path=flask.request.script_root or "/", httponly=True, samesite="Strict")
    return response


@login.get("/<any('console.css', 'icon.svg'):name>")
def file(name: str) -> Response:
    """Return one of the files of the form, which are open as it is."""
    return flask.current_app.send_static_file(name)


def challenge(refusal: Refusal) -> flask.Response:
    """Return the form in place of a page that takes a session."""
    following = flask.request.path if flask.request.method in ("GET", "HEAD") else ""
    return flask.Response(_form(following), refusal.status, refusal.headers, content_type="text/html; charset=utf-8")


def _form(following: str, *, is_wrong: bool = False) -> str:
    return flask.render_template("login.html", following=following, is_wrong=is_wrong)


def _local(path: str) -> str:
    """Return where a path of this server is, and the home page instead of anything else."""
    is_local = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable()
    return flask.request.script_root + path if is_local else flask.url_for("pages.home")
