"""Requests that the HTTP protocol itself refuses, on a server with short time-outs."""

from __future__ import annotations

TIME_OUTS = ("--header-timeout", "0.4", "--body-timeout", "0.4")

NAMED = b"Host: localhost\r\nX-Request-Id: mine\r\n"

REFUSED = {
    "head that does not end": (408, b"GET /v1/envs/ HTTP/1.1\r\n" + NAMED + b"X: "),
    "body that does not end": (408, b"POST /v1/envs/ HTTP/1.1\r\n" + NAMED + b"Content-Length: 20\r\n\r\n{"),
    "no request": (400, b"GARBAGE\r\n\r\n"),
    "no chunk": (400, b"POST /v1/envs/ HTTP/1.1\r\n" + NAMED + b"Transfer-Encoding: chunked\r\n\r\nGARBAGE\r\n"),
    "proxying": (400, b"CONNECT a:1 HTTP/1.1\r\n" + NAMED + b"\r\n"),
    "long head": (431, b"GET /v1/envs/ HTTP/1.1\r\n" + NAMED + b"X: " + b"a" * 600_000),
}
"""The status of each, and its bytes; all but what is no request have the id `mine`."""
