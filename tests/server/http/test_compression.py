"""Compression of replies: whose, from which size on, and that the hot path is left out of it."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
import zstandard

from gym_http_server.api.content.compression import is_here
from gym_http_server.app import create_app
from gym_http_server.config import Settings
from tests.support.serving import Server

ELSEWHERE = ("203.0.113.7", 40000)
HERE = ("127.0.0.1", 40000)
BODY = b'{"action": 0}'


def exchange(
    settings: Settings, client: tuple[str, int] | None, *requests: tuple[str, str, bytes, dict[str, str]]
) -> list[tuple[dict[str, str], bytes]]:
    """Return headers and body of the replies to requests that come from an address; {id} is the first one's instance."""

    async def run() -> list[tuple[dict[str, str], bytes]]:
        app = create_app(settings)
        await app.start()
        answers, made = [], ""
        for method, path, body, headers in requests:
            answers.append(await ask(app, client, method, path.replace("{id}", made), body, headers))
            if path == "/v1/envs/":
                made = json.loads(answers[-1][1])["instance_id"]
        await app.stop()
        return answers

    return asyncio.run(run())


async def ask(
    app: Any, client: Any, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[dict[str, str], bytes]:
    sent: list[Any] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "server": ("127.0.0.1", 80), "client": client,
        "headers": [(k.lower().encode(), v.encode()) for k, v in {"Host": "127.0.0.1", **headers}.items()],
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    found = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
    return found, b"".join(each.get("body", b"") for each in sent[1:])


def document(encodings: str) -> tuple[str, str, bytes, dict[str, str]]:
    return "GET", "/openapi.json", b"", {"Accept-Encoding": encodings}


@pytest.mark.parametrize(
    ("encodings", "used", "decode"),
    [
        ("gzip", "gzip", gzip.decompress),
        ("gzip, zstd", "zstd", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
        ("zstd;q=0, gzip;q=0.5", "gzip", gzip.decompress),
        ("br", None, bytes),
        ("identity", None, bytes),
        ("", None, bytes),
    ],
)
def test_a_client_elsewhere_gets_what_it_accepts(encodings: str, used: str | None, decode: Any) -> None:
    """A long reply comes in the best encoding that the client names, and says so."""
    [(plain, expected), (headers, body)] = exchange(
        Settings(engine="inline"), ELSEWHERE, document(""), document(encodings)
    )
    assert "content-encoding" not in plain
    assert headers.get("content-encoding") == used
    assert headers["vary"] == "Accept-Encoding"
    assert decode(body) == expected
    assert int(headers["content-length"]) == len(body)


@pytest.mark.parametrize("client", [HERE, ("::1", 1), ("::ffff:127.0.0.1", 1), None])
def test_a_client_on_this_machine_gets_replies_as_they_are(client: tuple[str, int] | None) -> None:
    """On loopback compressing costs more than it saves."""
    [(headers, _)] = exchange(Settings(engine="inline"), client, document("gzip"))
    assert "content-encoding" not in headers
    assert is_here({"client": client})


@pytest.mark.parametrize("compression", ["off", "remote", "all"])
@pytest.mark.parametrize("client", [HERE, ELSEWHERE])
def test_the_hot_path_is_compressed_only_where_all_is(compression: str, client: tuple[str, int]) -> None:
    """A long rollout is left alone by default, whether the hot path serves it or lets it fall through."""
    accepts = {"Accept-Encoding": "gzip", "Content-Type": "application/json"}
    rollout = b'{"policy": "random", "steps": 200}'
    odd = {**accepts, "Content-Type": "Application/JSON"}
    answers = exchange(
        Settings(engine="inline", compression=compression),
        client,
        ("POST", "/v1/envs/", b'{"env_id": "CartPole-v1"}', accepts),
        ("POST", "/v1/envs/{id}/rollout/", rollout, accepts),
        ("POST", "/v1/envs/{id}/rollout/", rollout, odd),
        ("POST", "/v1/envs/{id}/step/", BODY, accepts),
        document("gzip"),
        ("GET", "/", b"", {"Accept-Encoding": "gzip"}),
    )
    created, hot, fallen, short, long, page = (headers.get("content-encoding") for headers, _ in answers)
    assert (created, short) == (None, None)
    assert hot == fallen == ("gzip" if compression == "all" else None)
    remote = compression == "all" or (compression == "remote" and client == ELSEWHERE)
    assert long == page == ("gzip" if remote else None)
    if compression == "all":
        assert len(json.loads(gzip.decompress(answers[1][1]))["rewards"]) == 200


def test_errors_and_messagepack_are_compressed_and_pictures_are_not() -> None:
    """What is already compressed is left alone."""
    accepts = {"Accept-Encoding": "gzip"}
    answers = exchange(
        Settings(engine="inline", compression="all"),
        HERE,
        ("POST", "/v1/envs/", b'{"env_id": "CartPole-v1"}', {"Content-Type": "application/json"}),
        ("POST", "/v1/envs/{id}/reset/", b"", accepts),
        ("GET", "/v1/envs/{id}/render/", b"", accepts),
        ("POST", "/v1/envs/{id}/rollout/", b'{"policy": "random", "steps": 200}', {**accepts, "Accept": "application/msgpack", "Content-Type": "application/json"}),
        ("GET", "/v1/" + "x" * 2000, b"", accepts),
    )  # fmt: skip
    _, _, picture, packed, problem = (headers for headers, _ in answers)
    assert (picture["content-type"], picture.get("content-encoding")) == ("image/png", None)
    assert (packed["content-type"], packed["content-encoding"]) == ("application/msgpack", "gzip")
    assert (problem["content-type"], problem["content-encoding"]) == ("application/problem+json", "gzip")


def test_over_a_real_connection_on_loopback_nothing_is_compressed_by_default(server: Server) -> None:
    """The default setting leaves every reply to a client on this machine as it is."""
    answer = server.get("/openapi.json", headers={"Accept-Encoding": "gzip, zstd"}, check=False)
    assert "content-encoding" not in answer.headers
    assert answer.json["openapi"] == "3.0.3"
