"""`Address`: the parsed URL of a server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

DEFAULT_PORT = 5000


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is.

    Attributes:
        url: without a final slash.
        host: the name or the IP address to connect to.
        port: the port to connect to.
        is_secure: whether to speak TLS.
        authority: the value of the `Host` header.
        prefix: the path that goes before every path, without a final slash.
    """

    url: str
    host: str
    port: int
    is_secure: bool
    authority: str
    prefix: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Return the address in `url`.

        Raises:
            ValueError: `url` is not the address of a server.
        """
        wrong = ValueError(f"{url!r} is not the address of a server: give one such as http://127.0.0.1:{DEFAULT_PORT}")
        if not url.isprintable() or " " in url:
            raise wrong
        try:
            parts = urlsplit(url)
            port = parts.port
            host = parts.hostname or ""
            name = host if host.isascii() else host.encode("idna").decode()
        except ValueError as error:  # UnicodeError, of idna, is one
            raise wrong from error
        if parts.scheme not in {"http", "https"} or not host or parts.username is not None or port == 0:
            raise wrong
        if parts.query or parts.fragment:
            raise wrong
        path = parts.path.rstrip("/")
        is_secure = parts.scheme == "https"
        return cls(
            url=f"{parts.scheme}://{parts.netloc}{path}",
            host=name,
            port=port or (443 if is_secure else 80),
            is_secure=is_secure,
            authority=(f"[{name}]" if ":" in name else name) + ("" if port is None else f":{port}"),
            prefix=quote(path, safe="/%:@!$&'()*+,;=~"),
        )
