"""The public exceptions: `ServerProblem`, an error reply, with two kinds for holds, and `ServerConnectionError`, no reply."""

from __future__ import annotations

from typing import Any, Final

from .body import json_value

_KNOWN_MEMBERS = frozenset({"type", "title", "status", "detail", "message"})
_MAX_TEXT_CHARACTERS = 500

_PUBLIC_MODULE = "gym_http_server.client"


class ServerConnectionError(ConnectionError):
    """The server cannot be reached, or the connection ended before the answer, after all retries.

    Attributes:
        is_harmless: the server cannot have executed the request.
        is_silence: the machine, or the network to it, does not answer at all.
    """

    __module__ = _PUBLIC_MODULE

    def __init__(self, text: str, *, is_harmless: bool = False, is_silence: bool = False) -> None:
        super().__init__(text)
        self.is_harmless = is_harmless
        self.is_silence = is_silence


class ServerProblem(Exception):
    """The server answered with an error.

    Args:
        status: the HTTP status.
        type: the kind of problem, for programs: a URI, or `about:blank`.
        title: the kind of problem, for people.
        message: what was wrong, what was expected and what to do, for people.
        facts: further members of the problem details, such as `instance_id`.
    """

    __module__ = _PUBLIC_MODULE

    def __init__(self, status: int, type: str, title: str, message: str, facts: dict[str, Any] | None = None) -> None:  # noqa: A002 -- the member of the problem details
        super().__init__(status, type, title, message, facts)
        self.status = status
        self.type = type
        self.title = title
        self.message = message
        self.facts: dict[str, Any] = facts or {}

    @property
    def status_code(self) -> int:
        """The same as `status`, under the name of the original client's error."""
        return self.status

    def __str__(self) -> str:
        title = "" if self.title == self.message else f"{self.title}: "
        return f"{self.status} {title}{self.message}"

    @classmethod
    def of(cls, status: int, reason: str, content: bytes | bytearray) -> ServerProblem:
        """Return the problem in a reply with `status`, whose body may be problem details, v1's JSON or any text."""
        title = reason or f"HTTP {status}"
        try:
            members = json_value(content)
        except ValueError:
            members = None
        if not isinstance(members, dict):
            text = content.decode(errors="replace").strip()
            # The beginning of a proxy's HTML page says less than the status.
            message = title if not text or text.startswith("<") else text[:_MAX_TEXT_CHARACTERS]
            return cls(status, "about:blank", title, message)
        title = str(members.get("title") or title)
        kind = str(members.get("type") or "about:blank")
        return _KINDS.get(kind, cls)(
            status,
            kind,
            title,
            str(members.get("detail") or members.get("message") or title),
            {name: value for name, value in members.items() if name not in _KNOWN_MEMBERS},
        )


class InstanceHeld(ServerProblem):
    """Somebody else plays the instance: nothing was done, and the call can be repeated once it is given back."""

    __module__ = _PUBLIC_MODULE

    @property
    def held_by(self) -> str | None:
        """Who plays; None without a name."""
        name = self.facts.get("held_by")
        return None if name is None else str(name)

    @property
    def retry_after(self) -> float:
        """Seconds after which to try again."""
        seconds = self.facts.get("retry_after")
        return float(seconds) if isinstance(seconds, int | float) else 1.0


class HoldEnded(ServerProblem):
    """The hold of this client has ended, because it was not renewed in time or the instance was given back: nothing was done."""

    __module__ = _PUBLIC_MODULE


_KINDS: Final[dict[str, type[ServerProblem]]] = {
    "urn:gym-http-server:problem:instance-held": InstanceHeld,
    "urn:gym-http-server:problem:hold-ended": HoldEnded,
}
"""The class of problems that a program tells from others."""
