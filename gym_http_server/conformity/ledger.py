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
HOLD = "Instance-Hold"
MAX_INSTANCES = 31
"""Instances that the kit has at once; a deployment has others to serve."""

UNKNOWN_ID = "no-instance-"
"""Prefix of the ids that the kit invents; no implementation generates such ids."""

_UNKNOWN_IDS = frozenset({"bad_id"})
"""The unknown id in the sessions of old clients."""

_OK, _REDIRECT = 200, 300
_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_INSTANCE_PATH = re.compile(r"/v1/envs/([^/]+)(/.*)?", re.DOTALL)


class Ledger:
    """What the kit created.

    Args:
        results: the directory for recordings; None for a new one below the first results root.

    Attributes:
        unanswered: creations that had no answer; their idempotency keys let them be repeated.
        has_recordings: whether something was recorded.
        results: the directory of the recordings.
    """

    def __init__(self, results: str | None = None) -> None:
        self.results = results or f"conformity-{secrets.token_hex(4)}"
        self.unanswered: list[Request] = []
        self.has_recordings = False
        self._directories = 0
        self._env_ids: dict[str, str] = {}
        self._alive: set[str] = set()

    @property
    def alive(self) -> frozenset[str]:
        """The ids of the kit's open instances."""
        return frozenset(self._alive)

    def fresh_directory(self) -> str:
        """Return the name of a directory that does not exist yet."""
        self._directories += 1
        return f"{self.results}/{self._directories}"

    def may_be_foreign(self, instance_id: str) -> bool:
        """Return whether an id may belong to an instance that the kit did not create."""
        # Implementations that decode a path before they split it take the part before a slash for the id.
        first = instance_id.partition("/")[0]
        if first in self._env_ids or first in _UNKNOWN_IDS or first.startswith(UNKNOWN_ID):
            return False
        return _ID.fullmatch(first) is not None

    def permit(self, method: str, path: str) -> None:
        """Check that a request does a deployment no harm.

        Raises:
            PermissionError: it would stop the server, touch an instance of others, or create one too many.
        """
        plain = _plain(path)
        if plain.endswith("/v1/shutdown"):
            raise PermissionError(f"{method} {path} would stop the server")
        if is_creation(method, path) and len(self._alive) >= MAX_INSTANCES:
            raise PermissionError(f"the kit keeps no more than {MAX_INSTANCES} instances at once")
        instance = _INSTANCE_PATH.fullmatch(plain)
        if instance is not None and self.may_be_foreign(instance[1]):
            raise PermissionError(f"{method} {path} may touch an instance that is not the kit's")

    def note(self, request: Request, answer: Answer) -> None:
        """Note what a request created or closed."""
        if not _OK <= answer.status < _REDIRECT:
            return
        if is_creation(request.method, request.path):
            instance_id = _member(answer.body, "instance_id")
            if instance_id is not None:
                self._env_ids[instance_id] = _member(request.body, "env_id") or "?"
                self._alive.add(instance_id)
        instance = _INSTANCE_PATH.fullmatch(_plain(request.path))
        if instance is None:
            return
        if (request.method, instance[2]) in {("POST", "/close"), ("DELETE", None)}:
            self.forget(instance[1])
        self.has_recordings |= instance[2] == "/monitor/start"

    def note_silence(self, request: Request) -> None:
        """Note that a request had no answer."""
        if is_creation(request.method, request.path) and request.header(KEY):
            self.unanswered.append(request)

    def forget(self, instance_id: str) -> None:
        """Note that an instance is closed."""
        self._alive.discard(instance_id)

    def with_variable(self, command: str) -> str:
        """Return a command with `$instance_id` for an instance of the kit: it is closed when the command is read."""
        instance = re.search(r"/v1/envs/([A-Za-z0-9._~-]+)", command)
        if instance is None or instance[1] not in self._env_ids:
            return command
        env_id = self._env_ids[instance[1]]
        return f"{command.replace(instance[1], '$instance_id')}  # that of a new {env_id}, after a reset"


def is_creation(method: str, path: str) -> bool:
    """Return whether a request creates an instance."""
    return (method, _plain(path)) == ("POST", ENVS.rstrip("/"))


def _plain(path: str) -> str:
    return unquote(path.partition("?")[0]).rstrip("/")


def _member(body: bytes, name: str) -> str | None:
    try:
        value = json.loads(body)[name]
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return value if isinstance(value, str) else None
