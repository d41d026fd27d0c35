"""`Client`: the operations of the contract over HTTP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

from .copies import Remade
from .http.address import DEFAULT_PORT
from .http.body import json_body, json_value, msgpack_body
from .http.direct import DirectTransport
from .http.layout import LayoutReader
from .http.problem import ServerProblem
from .http.transport import JSON, MAX_RETRIES, MSGPACK, Transport
from .keeper import LEASE_SECONDS, Keeper, keeper_of
from .legacy import LegacyMethods
from .operations.base import instance_path

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_READERS = 1024


class Client(Remade, LegacyMethods):
    """A client of one server.

    Threads may share a client: each has its own connection, opened by its first call and kept alive. After a fork the
    child opens its own.

    Every method raises `ServerProblem` when the server answers with an error (an unknown instance is a 400),
    `ServerConnectionError` when the server cannot be reached or disconnects before it answers, after all retries, and
    `TimeoutError` when no answer came in time. An action, observation or option that cannot be encoded raises `TypeError`.

    Values are those of JSON: arrays are nested lists, a value of a Discrete space is an int, NaN is None and ±infinity
    is ±1e100. Actions and observations may be given as NumPy arrays and scalars.

    With `packed`, the operations of a training loop (reset, step, rollout, sample, contains, batches, snapshots) speak
    MessagePack: arrays come as read-only NumPy arrays with their dtype and shape, NaN and infinities unchanged. That is
    faster for anything larger than a few numbers, and many times faster for images.

    Instances have a lease of 240 s, which a thread of this process renews until they are closed; when the process is
    killed, they are closed within 5 minutes. With `create_env(…, lease=None)` an instance outlives this process.
    Copies and unpickled clients are new clients of the same server.

    The router of a cluster tells where an instance lives. This client then calls it there without the router, as long as it
    is reached and answers.

    Args:
        url: the server's address; a path in it is put before every operation's path.
        api_key: sent with every request as `Authorization: Bearer …`.
        timeout: seconds to wait for an answer; None waits for ever. It should be longer than the server's
            `--call-timeout`, whose 504 tells more.
        packed: speak MessagePack where the contract has it.
        retries: maximum number of attempts after the first when the connection breaks, after 0.05, 0.1, 0.2, … seconds.
            This server executes a repeated request once, by its `Idempotency-Key`; use 0 for a server that does not
            know that header.

    Raises:
        ValueError: `url` is not the address of a server, or `api_key` cannot be in a header.
    """

    _default_lease = LEASE_SECONDS

    def __init__(
        self,
        url: str = f"http://127.0.0.1:{DEFAULT_PORT}",
        api_key: str | None = None,
        timeout: float | None = 300.0,
        *,
        packed: bool = False,
        retries: int = MAX_RETRIES,
    ) -> None:
        self._transport = Transport(url, api_key, timeout, retries)
        self._direct = DirectTransport(self._transport)
        self._exchange: Callable[..., bytes | bytearray] = self._transport.exchange
        self._api_key = api_key
        self._packed = packed
        self._readers: dict[str, LayoutReader] = {}

    def __repr__(self) -> str:
        return f"Client({self.url!r}{', packed=True' if self._packed else ''})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The server's address, without a final slash."""
        return self._transport.url

    @property
    def keeper(self) -> Keeper:
        """Renews the leases of this process's instances on the server."""
        return keeper_of(self.url, self._api_key, partial(Client, self.url, self._api_key))

    def _note_lease(self, instance_id: str, lease: float) -> None:
        self.keeper.renew(instance_id, lease)

    def _note_end(self, instance_id: str) -> None:
        self._direct.remove(instance_path(instance_id, "/"))
        self.keeper.forget(instance_id)

    def _note_place(self, instance_id: str, url: str, key: str | None) -> None:
        self._direct.add(instance_path(instance_id, "/"), url, key)
        self._exchange = self._direct.exchange

    def _note_hold(self, instance_id: str, token: str | None) -> None:
        self._direct.hold(instance_path(instance_id, "/"), token)

    def close(self) -> None:
        """Close the connections of all threads; instances on the server stay. A later call opens a new connection."""
        self._transport.close()
        self._direct.close()

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        hot: bool = False,
        repeatable: bool = False,
        keyed: bool = False,
    ) -> dict[str, Any]:
        media_type, encode = JSON, json_body
        decode: Callable[[bytes | bytearray], Any] = json_value
        if hot and self._packed:
            media_type, encode, decode = MSGPACK, msgpack_body, self._reader(path)
        content = None if body is None else encode(body)
        reply = self._exchange(
            method, path, content, media_type=media_type, accept=media_type, repeatable=repeatable, keyed=keyed
        )
        try:
            members = decode(reply)
        except ValueError:
            members = None
        if not isinstance(members, dict):
            raise ServerProblem(200, "about:blank", "Unexpected reply", "what answers there is not a gym-http-server")
        return members

    def _reader(self, path: str) -> Callable[[bytes | bytearray], Any]:
        reader = self._readers.get(path)
        if reader is None:
            if len(self._readers) >= _MAX_READERS:  # each instance has its own paths
                self._readers.clear()
            reader = self._readers[path] = LayoutReader()
        return reader.read

    def _file(self, path: str, media_type: str) -> bytes:
        return bytes(self._exchange("GET", path, accept=media_type, repeatable=True))
