"""The guard: decides by key, Host and browser headers whether a request may be served.

Threat model (more in `.github/SECURITY.md`):

- Another machine on the network. A server that listens on more than loopback requires a key, sent as `Authorization: Bearer`
  (RFC 6750) and compared in constant time. A browser exchanges it at `/login` for a cookie that opens the pages, and the
  operations for requests of this server's own pages only: browsers also send it for pages of other ports of the same host.
  A shard of a cluster also takes, for the paths of one instance, the key of that instance (`support/instance_keys.py`).
- A foreign web page that sends requests to the user's loopback server. Browsers send that page's `Origin` (RFC 6454: scheme,
  name and port), or `Sec-Fetch-Site: cross-site` (https://www.w3.org/TR/fetch-metadata/).
- The same page after DNS rebinding of its name to 127.0.0.1. Its `Origin` is then the server's, but `Host` is the foreign name.
- A program on the same machine can do whatever its user can, and an open loopback server does not keep it out.

The guard also runs in the processes of environments, which have a digest of the key and never the key.
"""

from __future__ import annotations

import functools
import hmac
import ipaddress
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...support.instance_keys import digest_of, instance_key
from ..content.headers import repetition
from ..problems import HttpProblem
from ..request import instance_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...config import Settings
    from ..asgi import Scope

COOKIE: Final = "gym_http_server_session"
SESSION_SECONDS: Final = 12 * 3600
"""Lifetime of a login."""

CHALLENGE: Final = 'Bearer realm="gym-http-server"'

_API_PATHS: Final = frozenset(("/v1", "/mcp", "/metrics", "/metrics/"))

_HOST: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]/@?#\s]*)(?::\d*)?")
_ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class Access:
    """The access rules as plain values, which are also sent to the processes of environments.

    Attributes:
        key_digest: SHA-256 of the key in hexadecimal digits; empty if no key is required.
        hosts: allowed names in `Host`, in lower case; `*` for any.
        origins: origins whose pages may send requests, in lower case; `*` for any.
    """

    key_digest: str
    hosts: tuple[str, ...]
    origins: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """Return the rules of these settings; `api_key` is the key, or empty for none."""
        hosts = ("localhost", settings.listen, *settings.allowed_host)
        return cls(
            key_digest=digest_of(settings.api_key),
            hosts=tuple(each.lower().rstrip(".") for each in hosts if each),
            origins=tuple(each.lower().rstrip("/") for each in settings.cors_origin),
        )

    def accepts(self, key: str) -> bool:
        """Return whether `key` is right, in constant time."""
        return hmac.compare_digest(digest_of(key), self.key_digest)


class Sessions:
    """Login sessions, in memory only. Thread-safe."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def begin(self) -> str:
        """Start a session; return the value of its cookie."""
        now = time.monotonic()
        for token, end in list(self._ends.items()):
            if end <= now:
                self._ends.pop(token, None)
        token = secrets.token_urlsafe(32)
        self._ends[token] = now + SESSION_SECONDS
        return token

    def holds(self, cookies: str) -> bool:
        """Return whether a `Cookie` header has a valid session."""
        return any(self._ends.get(token, 0.0) > time.monotonic() for token in _tokens(cookies))

    def end(self, cookies: str) -> None:
        """End the sessions in a `Cookie` header."""
        for token in _tokens(cookies):
            self._ends.pop(token, None)


def _tokens(cookies: str) -> list[str]:
    # Python's parser stops at an invalid cookie, which another server on this host may have set.
    pairs = (each.strip(" \t").partition("=") for each in cookies.split(";"))
    return [value for name, _, value in pairs if name == COOKIE]


class Guard:
    """Decides which requests are refused.

    Args:
        access: the rules.
        sessions: the login sessions; None without pages.
        cluster_key: the key of a cluster, by which a shard also takes the keys of its instances; empty elsewhere.
    """

    def __init__(self, access: Access, sessions: Sessions | None = None, cluster_key: str = "") -> None:
        self.access = access
        self._cluster_key = cluster_key
        self._sessions = sessions
        self._takes_any_host = _ANY in access.hosts
        # Cached: clients repeat one Host, and parsing it takes as long as all other checks.
        self._is_known = functools.lru_cache(maxsize=256)(self._knows)

    def refusal(self, scope: Scope) -> HttpProblem | None:
        """Return the problem with a request, or None if it may be served.

        The status is 400 for a repeated header, a missing Host (RFC 9112, 3.2) or a foreign one, 403 for a page of another
        origin, 401 for a missing or wrong key.
        """
        headers = scope["headers"]
        fields = dict(headers)
        if len(fields) < len(headers) and (repeated := repetition(headers)) is not None:
            return repeated
        host = fields.get(b"host")
        if host is None:
            if scope["http_version"] != "1.0":
                detail = "an HTTP/1.1 request has a Host header, and this has none: send one"
                return HttpProblem(400, "malformed-request", detail)
            host = b""
        if not self._is_known(host):
            return _unknown_host(host)
        if b"origin" in fields or b"sec-fetch-site" in fields:
            problem = self._other_origin(scope, fields, host)
            if problem is not None:
                return problem
        if not self.access.key_digest or is_open(scope["path"]) or self._is_preflight(scope, fields):
            return None
        return self._without_key(scope, fields)

    def _knows(self, host: bytes) -> bool:
        match = _HOST.fullmatch(host.decode("latin-1"))
        if match is None:
            return False
        name = match[1].lower().rstrip(".")
        return self._takes_any_host or not name or name in self.access.hosts or _is_address(name)

    def _other_origin(self, scope: Scope, fields: Mapping[bytes, bytes], host: bytes) -> HttpProblem | None:
        origins = self.access.origins
        if _ANY in origins:
            return None
        origin = fields.get(b"origin")
        if origin is not None:
            text = origin.decode("latin-1").lower()
            own = own_origin(scope["scheme"], host)
            if text in origins or (own and _without_default_port(text) == own):
                return None
            # A page cannot set Sec-Fetch-Site, so `same-origin` is trustworthy although the browser hides the origin.
            if text == "null" and fields.get(b"sec-fetch-site") == b"same-origin":
                return None
            return _foreign(text, own)
        if fields.get(b"sec-fetch-site") != b"cross-site" or self._follows_link(scope, fields):
            return None
        return _foreign("another site", "")

    def _is_preflight(self, scope: Scope, fields: Mapping[bytes, bytes]) -> bool:
        """Return whether it is a CORS preflight of an allowed origin, which carries no key."""
        if scope["method"] != "OPTIONS" or b"access-control-request-method" not in fields:
            return False
        origins = self.access.origins
        return b"origin" in fields and (_ANY in origins or fields[b"origin"].decode("latin-1").lower() in origins)

    def _follows_link(self, scope: Scope, fields: Mapping[bytes, bytes]) -> bool:
        return (
            scope["method"] in ("GET", "HEAD")
            and fields.get(b"sec-fetch-mode") == b"navigate"
            and fields.get(b"sec-fetch-dest", b"document") == b"document"
            and not is_api(scope["path"])
        )

    def _without_key(self, scope: Scope, fields: Mapping[bytes, bytes]) -> HttpProblem | None:
        scheme, _, key = fields.get(b"authorization", b"").decode("latin-1").strip().partition(" ")
        if scheme.lower() == "bearer":
            if self.access.accepts(key.strip()) or self._is_of_instance(key.strip(), scope):
                return None
            detail = "the key in 'Authorization: Bearer' is not this server's: its operator has the right one"
            return HttpProblem(
                401, "unauthorized", detail, headers={"www-authenticate": f'{CHALLENGE}, error="invalid_token"'}
            )
        if (
            self._sessions is not None
            and b"cookie" in fields
            and (not is_api(scope["path"]) or _is_of_own_page(scope, fields))
            and self._sessions.holds(fields[b"cookie"].decode("latin-1"))
        ):
            return None
        detail = "this server requires a key: send it as 'Authorization: Bearer …'; its operator has it"
        return HttpProblem(401, "unauthorized", detail, headers={"www-authenticate": CHALLENGE})

    def _is_of_instance(self, key: str, scope: Scope) -> bool:
        """Return whether it is the key of the instance in the path."""
        instance_id = instance_in(scope["path"]) if self._cluster_key else None
        if instance_id is None:
            return False
        expected = instance_key(self._cluster_key, instance_id).encode()
        return hmac.compare_digest(key.encode("utf-8", "surrogateescape"), expected)


def _is_of_own_page(scope: Scope, fields: Mapping[bytes, bytes]) -> bool:
    """Return whether a browser says that a request is one of this server's own pages, or of the person."""
    site = fields.get(b"sec-fetch-site")
    if site is not None:
        return site in (b"same-origin", b"none")
    origin = fields.get(b"origin")
    if origin is not None:
        own = own_origin(scope["scheme"], fields.get(b"host", b""))
        return _without_default_port(origin.decode("latin-1").lower()) == own
    # Browsers send neither with a GET over plain HTTP to another machine. What that reads is kept from other pages.
    return scope["method"] in ("GET", "HEAD")


def is_open(path: str) -> bool:
    """Return whether a path needs no key: a health check, the login page and its files."""
    if path.startswith("/openenv/"):
        return path.removesuffix("/").endswith("/health")
    return path in ("/v1/health", "/v1/health/", "/login") or path.startswith("/login/")


def is_api(path: str) -> bool:
    """Return whether a path is for programs: an operation's, or `/mcp`. `/metrics` is where Prometheus expects it."""
    return path in _API_PATHS or path.startswith(("/v1/", "/openenv/", "/mcp/"))


def is_mcp(path: str) -> bool:
    """Return whether a path is MCP's: `/mcp`, or that of an environment below it."""
    return path == "/mcp" or path.startswith("/mcp/")


def own_origin(scheme: str, host: bytes) -> str:
    """Return the origin, in lower case, of this server's pages at a Host; empty without a Host."""
    return _without_default_port(f"{scheme}://{host.decode('latin-1')}".lower()) if host else ""


def _without_default_port(origin: str) -> str:
    scheme, _, _ = origin.partition("://")
    port = {"http": ":80", "https": ":443"}.get(scheme, "")
    return origin.removesuffix(port)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _unknown_host(host: bytes) -> HttpProblem:
    name = _HOST.sub(r"\1", host.decode("latin-1"), count=1)
    detail = (
        f"the Host {ascii(name)[:200]} is not a name of this server: use its address, or start the server with "
        "--allowed-host and that name"
    )
    return HttpProblem(400, "unknown-host", detail, setting="allowed_host")


def _foreign(origin: str, own: str) -> HttpProblem:
    detail = f"a web page of {ascii(origin)[:200]} may not use this server: start the server with --cors-origin and its origin"
    if own and _without_default_port(origin).partition("://")[2] == own.partition("://")[2]:
        detail += (
            f", or, where it is a proxy's in front of this server ({own}), with --trusted-proxy and the proxy's address, and "
            "have that send X-Forwarded-Proto"
        )
    else:
        detail += ", such as https://lab.example"
    return HttpProblem(403, "foreign-origin", detail, setting="cors_origin")
