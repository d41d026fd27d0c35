"""`DirectTransport`: requests for instances that are reached directly, without the router that made them.

The router of a cluster answers `createEnv` with the `url` of the server where the instance lives, and a `key` for it. The
first request for the instance looks there for its description. If that answers, requests for the instance go there, and
otherwise, or as soon as it does not answer any more, to the router, for good. A host that drops packets is tried once in
a process. A request whose reply is lost is sent to the router with the same `Idempotency-Key`, so that it is executed once.

The client's own key is sent to the router alone. A router behind TLS is never left for a server without it.
"""

from __future__ import annotations

import contextlib
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .address import Address
from .body import json_value
from .problem import ServerConnectionError, ServerProblem
from .transport import JSON, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

SILENCE_SECONDS: Final = 2.0
"""Maximum time for a connection, and for the acknowledgement of what was sent."""
_PROBE_SECONDS: Final = 10.0
_DIRECT_RETRIES: Final = 1
_INSTANCES: Final = len("/v1/envs/")

_UNAUTHORIZED = 401
_UNKNOWN_INSTANCE = "urn:gym-http-server:problem:unknown-instance"


class _Host:
    """What this process knows of a host."""

    is_silent = False
    was_reached = False


_hosts: dict[str, _Host] = {}


@dataclass(eq=False, slots=True)
class _Route:
    """How to reach one instance; without a transport until that was tried."""

    url: str
    key: str | None
    host: _Host
    transport: Transport | None = None


class DirectTransport:
    """Sends requests for instances directly where it can, all others to the router; threads may share it.

    Args:
        router: sends the requests to the router.
    """

    def __init__(self, router: Transport) -> None:
        self._router = router
        self._routes: dict[str, _Route] = {}
        """By the path before the operations of an instance."""
        self._transports: weakref.WeakValueDictionary[str, Transport] = weakref.WeakValueDictionary()

    def add(self, path: str, url: str, key: str | None) -> None:
        """Reach the instance whose operations lie below `path` directly at `url`, if that answers."""
        try:
            address = Address.of(url)
        except ValueError:
            return
        if address.is_secure or not self._router.is_secure:
            host = _hosts.get(address.host)
            if host is None or (host.is_silent and host.was_reached):  # it was lost, and the cluster has it again
                host = _hosts[address.host] = _Host()
            self._routes[path] = _Route(address.url, key, host)

    def remove(self, path: str) -> None:
        """Forget an instance."""
        route = self._routes.pop(path, None)
        if route is not None and route.transport is not None:
            route.transport.hold(path, None)
            route.transport.authorize(path, None)

    def exchange(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        media_type: str = JSON,
        accept: str = JSON,
        repeatable: bool = False,
        keyed: bool = False,
    ) -> bytes | bytearray:
        """Send a request and return the body of the reply, as `Transport.exchange` does."""
        key = b""
        instance = path[: path.find("/", _INSTANCES) + 1]
        route = self._routes.get(instance)
        transport = None if route is None else self._transport(instance, route)
        if route is not None and transport is not None:
            key = self._router.new_key() if keyed else b""
            try:
                return transport.exchange(
                    method,
                    path,
                    content,
                    media_type=media_type,
                    accept=accept,
                    repeatable=repeatable,
                    keyed=keyed and self._router.retries > 0,
                    key=key,
                )
            except ServerConnectionError as error:
                route.host.is_silent = route.host.is_silent or error.is_silence
                self.remove(instance)
                if not (error.is_harmless or repeatable or (keyed and self._router.retries > 0)):
                    raise
            except ServerProblem as problem:
                # Another server at the same address: it has not executed the request.
                if problem.status != _UNAUTHORIZED and problem.type != _UNKNOWN_INSTANCE:
                    raise
                self.remove(instance)
        return self._router.exchange(
            method, path, content, media_type=media_type, accept=accept, repeatable=repeatable, keyed=keyed, key=key
        )

    def hold(self, path: str, token: str | None) -> None:
        """Send a token with every request whose path begins with `path`, as `Transport.hold` does."""
        self._router.hold(path, token)
        route = self._routes.get(path)
        if route is not None and route.transport is not None:
            route.transport.hold(path, token)

    def close(self) -> None:
        """Close the direct connections of all threads. A later exchange opens a new connection."""
        for transport in list(self._transports.values()):
            transport.close()

    def _transport(self, instance: str, route: _Route) -> Transport | None:
        if route.transport is None and not route.host.is_silent and self._answers(instance, route):
            transport = self._transports.get(route.url)
            if transport is None:
                transport = Transport(
                    route.url,
                    None,
                    self._router.timeout,
                    min(self._router.retries, _DIRECT_RETRIES),
                    silence=SILENCE_SECONDS,
                )
                self._transports[route.url] = transport
            transport.hold(instance, self._router.held(instance))
            if route.key is not None:
                transport.authorize(instance, route.key)
            route.host.was_reached = True
            route.transport = transport
        if route.transport is None or route.host.is_silent:
            self.remove(instance)
            return None
        return route.transport

    def _answers(self, instance: str, route: _Route) -> bool:
        """Return whether the instance is at the route's address."""
        instance_id = instance[_INSTANCES:-1]
        try:
            probe = Transport(route.url, route.key, _PROBE_SECONDS, 0, silence=SILENCE_SECONDS)
            with contextlib.closing(probe):
                description: Mapping[str, object] = json_value(probe.exchange("GET", instance))
            return isinstance(description, dict) and description.get("instance_id") == instance_id
        except ServerConnectionError as error:
            route.host.is_silent = route.host.is_silent or error.is_silence
        except (ServerProblem, TimeoutError, ValueError):
            pass
        # Another thread may have been quicker, whose call the probe waited for.
        return route.transport is not None
