"""`Address`: the parsed URL of a server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

DEFAULT_PORT = 5000


@dataclass(frozen=True, slots=True)
class Address:
    """The parsed URL of a server.

    Attributes:
        url: without a final slash.
        host: the name or the IP address to connect to.
        port: the port to connect to.
        is_secure: the scheme is https.
        authority: the value of the `Host` header.
        prefix: put before every path, without a final slash.
    """

    url: str
    host: str
    port: int
    is_secure: bool
    authority: str
    prefix: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Parse a URL.

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
        has_extras = parts.username is not None or parts.query or parts.fragment
        if parts.scheme not in {"http", "https"} or not host or port == 0 or has_extras:
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
