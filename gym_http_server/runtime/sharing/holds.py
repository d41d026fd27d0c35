"""Holds of an instance: people who play it, in the place of its agent or beside it."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ...errors import HoldEndedError, InstanceHeldError

HOLD: Final = "hold"
"""Name of the argument of a call that holds the token of an Instance-Hold header."""

EXCLUSIVE: Final = "exclusive"
DEFAULT_SECONDS: Final = 30.0
_MAX_SHARED: Final = 16
"""Maximum number of shared holds of an instance; the oldest ends with one more."""


class Hold(NamedTuple):
    """One hold.

    Attributes:
        mode: `exclusive` or `shared`.
        name: who holds; None without a name.
        seconds: seconds that it lasts without a renewal.
        ends_at: when it ends, in seconds of the monotonic clock.
    """

    mode: str
    name: str | None
    seconds: float
    ends_at: float

    def state(self) -> dict[str, Any]:
        """Return `mode`, `name`, `seconds` and `until`."""
        until = datetime.fromtimestamp(time.time() + self.ends_at - time.monotonic(), UTC)
        told = until.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"mode": self.mode, "name": self.name, "seconds": self.seconds, "until": told}


class Holds:
    """The holds of one instance: at most one is exclusive."""

    def __init__(self) -> None:
        self._by_token: dict[str, Hold] = {}

    def __bool__(self) -> bool:
        return bool(self._by_token)

    def hold(self, token: str | None, mode: str | None, name: str | None, seconds: float | None) -> str:
        """Begin or renew a hold; return its token.

        Args:
            token: that of the hold to renew; None for a new one.
            mode: `exclusive` or `shared`; None for `exclusive` or, in a renewal, the mode as it is.
            name: who holds; None in a renewal for the name as it is.
            seconds: seconds until it ends without a renewal; None for the default or, in a renewal, the number as it is.

        Raises:
            HoldEndedError: there is no hold to renew.
            InstanceHeldError: somebody else has the exclusive hold.
        """
        self._drop_ended()
        before = None
        if token is not None:
            before = self._by_token.get(token)
            if before is None:
                raise HoldEndedError.of()
        self._refuse_others(token)
        if before is not None:
            mode, name, seconds = mode or before.mode, name or before.name, seconds or before.seconds
        seconds = seconds or DEFAULT_SECONDS
        token = token or secrets.token_urlsafe(12)
        self._by_token.pop(token, None)  # the latest is the last
        self._by_token[token] = Hold(mode or EXCLUSIVE, name, seconds, time.monotonic() + seconds)
        if len(self._by_token) > _MAX_SHARED:
            del self._by_token[next(iter(self._by_token))]
        return token

    def release(self, token: str | None, *, force: bool) -> bool:
        """End the hold of a token, or with `force` all; return whether there was one."""
        self._drop_ended()
        if force:
            were_any = bool(self._by_token)
            self._by_token.clear()
            return were_any
        return self._by_token.pop(token or "", None) is not None

    def admit(self, token: str | None) -> None:
        """Check that a request with a token, or with None, may change the instance.

        Raises:
            HoldEndedError: the token is that of no hold.
            InstanceHeldError: somebody else has the exclusive hold.
        """
        self._drop_ended()
        if token is not None and token not in self._by_token:
            raise HoldEndedError.of()
        self._refuse_others(token)

    def state(self, token: str | None = None) -> dict[str, Any] | None:
        """Return the state of a token's hold, or of the one to announce: the exclusive or else the latest; None without one."""
        if token is not None:
            return self._by_token[token].state()
        latest = None
        for latest in self._by_token.values():
            if latest.mode == EXCLUSIVE:
                break
        return None if latest is None else latest.state()

    @property
    def announced(self) -> dict[str, Any] | None:
        """`mode`, `name` and `until` of the hold to announce; None if all have ended."""
        self._drop_ended()
        state = self.state()
        return None if state is None else {name: state[name] for name in ("mode", "name", "until")}

    def _refuse_others(self, token: str | None) -> None:
        for holder, hold in self._by_token.items():
            if hold.mode == EXCLUSIVE and holder != token:
                raise InstanceHeldError.of(hold.name, hold.ends_at - time.monotonic())

    def _drop_ended(self) -> None:
        now = time.monotonic()
        for token in [token for token, hold in self._by_token.items() if hold.ends_at <= now]:
            del self._by_token[token]
