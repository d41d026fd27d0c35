"""Behind a proxy: what its headers tell is believed of those that are trusted, and of nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gym_http_server.api.guard.proxy import TrustedProxies
from gym_http_server.errors import AccessError
from tests.support.serving import Answer, Server, parse_response, raw


def ask(server: Server, path: str, *lines: str) -> Answer:
    head = (f"GET {path} HTTP/1.1", "Host: 127.0.0.1:5000", "Connection: close", *lines, "", "")
    return parse_response(raw(server.address, "\r\n".join(head).encode()))


async def told(proxies: list[str], client: str, *headers: tuple[bytes, bytes]) -> tuple[str, str, bytes]:
    """Return client, scheme and Host that an app behind these proxies sees."""
    seen = {}

    async def app(scope, _receive, _send):
        seen.update(scope)

    scope = {
        "type": "http",
        "scheme": "http",
        "client": (client, 1234),
        "headers": [(b"host", b"127.0.0.1"), *headers],
    }
    await TrustedProxies(app, proxies)(scope, None, None)
    return seen["client"][0], seen["scheme"], dict(seen["headers"])[b"host"]


FORWARDED = (
    (b"x-forwarded-for", b"203.0.113.9, 10.1.2.3"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"evil.example, gym.example"),
)


async def test_a_trusted_proxy_is_believed() -> None:
    """Client, scheme and host are those that it tells; of a list of hosts, the nearest proxy's."""
    assert await told(["10.0.0.0/8"], "10.9.9.9", *FORWARDED) == ("203.0.113.9", "https", b"gym.example")
    assert await told(["10.9.9.9"], "10.9.9.9", *FORWARDED) == ("10.1.2.3", "https", b"gym.example")
    assert await told(["10.0.0.0/8"], "10.9.9.9") == ("10.9.9.9", "http", b"127.0.0.1")


async def test_forwarded_for_in_several_lines_is_one_list() -> None:
    """Each proxy may add its own line."""
    lines = [(b"x-forwarded-for", each) for each in (b"198.51.100.7", b"203.0.113.9, 10.1.2.3", b"10.2.2.2")]
    assert (await told(["10.0.0.0/8"], "10.9.9.9", *lines))[0] == "203.0.113.9"


async def test_nobody_else_is_believed() -> None:
    """The same headers of another client change nothing."""
    assert await told(["10.0.0.0/8"], "192.168.0.1", *FORWARDED) == ("192.168.0.1", "http", b"127.0.0.1")


def test_a_proxy_must_be_an_address() -> None:
    """A name, or a network with host bits, is refused at the start."""
    for each in ("proxy.example", "10.0.0.1/8", "*"):
        with pytest.raises(AccessError, match="--trusted-proxy"):
            TrustedProxies(None, [each])


@pytest.fixture(scope="module", params=[True, False], ids=["trusted", "other"])
def proxied(request: pytest.FixtureRequest) -> Iterator[tuple[Server, bool]]:
    """A server, and whether it trusts the proxy that the tests are."""
    options = ("--trusted-proxy", "127.0.0.0/8", "--allowed-host", "gym.example") if request.param else ()
    with Server(*options) as server:
        yield server, request.param


def test_forwarded_headers_reach_the_checks_only_of_a_trusted_proxy(proxied: tuple[Server, bool]) -> None:
    """The host that a trusted proxy tells has to be known, and is the origin of its pages; without trust it is ignored."""
    server, is_trusted = proxied
    page = ("X-Forwarded-Host: gym.example", "X-Forwarded-Proto: https", "Origin: https://gym.example")
    assert ask(server, "/v1/envs/", *page).status == (200 if is_trusted else 403)
    plain = (page[0], page[1], "Origin: http://gym.example")
    assert ask(server, "/v1/envs/", *plain).status == 403
    assert ask(server, "/v1/envs/", "X-Forwarded-Host: evil.example").status == (400 if is_trusted else 200)
    text = ask(server, "/", "X-Forwarded-Host: gym.example", "X-Forwarded-Proto: https").body.decode()
    assert ("https://gym.example" in text) == is_trusted


@pytest.mark.parametrize(
    "line", ["X-Forwarded-Proto: https", "X-Forwarded-Host: gym.example", "X-Forwarded-Prefix: /gym"]
)
def test_a_repeated_header_of_a_trusted_proxy_is_a_400(proxied: tuple[Server, bool], line: str) -> None:
    """One of the two may be the client's own; what another client sends is not read, once or twice."""
    server, is_trusted = proxied
    assert ask(server, "/v1/envs/", line).status == 200
    answer = ask(server, "/v1/envs/", line, line)
    assert answer.status == (400 if is_trusted else 200)
    assert not is_trusted or f"more than one {line.partition(':')[0]} header" in answer.message


def test_the_host_that_a_proxy_tells_hides_no_second_one(proxied: tuple[Server, bool]) -> None:
    """Two `Host` are 400, whatever stands in their place."""
    server, _ = proxied
    assert ask(server, "/v1/envs/", "Host: 127.0.0.1", "X-Forwarded-Host: gym.example").status == 400
