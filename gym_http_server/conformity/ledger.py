"""`Ledger`: the requests that the kit may send, and the instances and recordings that it created."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from .exchange import Answer, Request

ENVS = "/v1/envs/"
KEY = "Idempotency-Key"
MAX_INSTANCES = 31
"""How many instances the kit has at once; a deployment has others to serve."""

NOBODY = "no-instance-"
"""What the ids begin with that the kit invents; no implementation gives such a one."""

_NOBODIES = frozenset({"bad_id"})
"""The unknown id that old clients' sessions ask for."""

_OK, _REDIRECT = 200, 300
_COULD_BE_AN_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_OF_AN_INSTANCE = re.compile(r"/v1/envs/([^/]+)(/.*)?", re.DOTALL)


class Ledger:
    """What was made: instances, and recordings.

    Args:
        results: the directory to record below; one of its own under the first results root where it is None.

    Attributes:
        unanswered: creations that had no answer, and a key by which they can be asked for again.
        has_recordings: whether something was recorded.
        results: the directory below which it was.
    """

    def __init__(self, results: str | None = None) -> None:
        self.results = results or f"conformity-{secrets.token_hex(4)}"
        self.unanswered: list[Request] = []
        self.has_recordings = False
        self._directories = 0
        self._made: dict[str, str] = {}
        self._alive: set[str] = set()

    @property
    def alive(self) -> frozenset[str]:
        """The ids of the instances that the kit made and has not closed."""
        return frozenset(self._alive)

    def fresh_directory(self) -> str:
        """Return the name of a directory that is not there yet."""
        self._directories += 1
        return f"{self.results}/{self._directories}"

    def could_be_anothers(self, instance_id: str) -> bool:
        """Return whether there may be an instance of this id that the kit did not make."""
        # One with a slash in it is that of its first part for whoever decodes the path before taking it apart.
        first = instance_id.partition("/")[0]
        if first in self._made or first in _NOBODIES or first.startswith(NOBODY):
            return False
        return _COULD_BE_AN_ID.fullmatch(first) is not None

    def permit(self, method: str, path: str) -> None:
        """Refuse a request that a deployment has to be spared.

        Raises:
            PermissionError: it would stop the server, touch an instance that the kit did not make, or make one too many.
        """
        plain = _plain(path)
        if plain.endswith("/v1/shutdown"):
            raise PermissionError(f"{method} {path} would stop the server")
        if is_creation(method, path) and len(self._alive) >= MAX_INSTANCES:
            raise PermissionError(f"the kit keeps no more than {MAX_INSTANCES} instances at once")
        named = _OF_AN_INSTANCE.fullmatch(plain)
        if named is not None and self.could_be_anothers(named[1]):
            raise PermissionError(f"{method} {path} may touch an instance that is not the kit's")

    def note(self, request: Request, answer: Answer) -> None:
        """Write down what an answer says was made or closed."""
        if not _OK <= answer.status < _REDIRECT:
            return
        if is_creation(request.method, request.path):
            made = _member(answer.body, "instance_id")
            if made is not None:
                self._made[made] = _member(request.body, "env_id") or "?"
                self._alive.add(made)
        named = _OF_AN_INSTANCE.fullmatch(_plain(request.path))
        if named is None:
            return
        if (request.method, named[2]) in {("POST", "/close"), ("DELETE", None)}:
            self.forget(named[1])
        self.has_recordings = self.has_recordings or named[2] == "/monitor/start"

    def note_silence(self, request: Request) -> None:
        """Write down that a request had no answer; what it made is not known."""
        if is_creation(request.method, request.path) and request.header(KEY):
            self.unanswered.append(request)

    def forget(self, instance_id: str) -> None:
        """Write down that an instance is closed."""
        self._alive.discard(instance_id)

    def with_variable(self, command: str) -> str:
        """Return a command with `$instance_id` for an instance of the kit, which is closed by the time it is read."""
        named = re.search(r"/v1/envs/([A-Za-z0-9._~-]+)", command)
        if named is None or named[1] not in self._made:
            return command
        return f"{command.replace(named[1], '$instance_id')}  # that of a new {self._made[named[1]]}, after a reset"


def is_creation(method: str, path: str) -> bool:
    """Return whether a request makes an instance."""
    return (method, _plain(path)) == ("POST", ENVS.rstrip("/"))


def _plain(path: str) -> str:
    return unquote(path.partition("?")[0]).rstrip("/")


def _member(body: bytes, name: str) -> str | None:
    try:
        value = json.loads(body)[name]
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return value if isinstance(value, str) else None
