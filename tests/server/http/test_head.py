"""HEAD: what GET answers, without its content, on every way that a request can take."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from gym_http_server.conformity.contract import DOCUMENT, example_path
from tests.conftest import start
from tests.support.handing import get, handed, step
from tests.support.serving import Answer, Server, parse_response, raw

PAGES = (
    "/",
    "/environments",
    "/watch",
    "/instances/new",
    "/scoreboard",
    "/static/console.css",
    "/ui/",
    "/manual",
    "/openapi.yaml",
    "/openapi.json",
    "/login",
)
GETS = [path for path, item in DOCUMENT["paths"].items() if "get" in item]
VOLATILE = ("date", "last-modified", "etag")


def ask(server: Server, method: str, path: str) -> tuple[Answer, bytes]:
    """Send a request on a connection of its own; return the reply and the bytes after its head."""
    data = raw(server.address, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return parse_response(data, method), data.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("template", GETS)
def test_head_is_answered_wherever_get_is(server: Server, template: str) -> None:
    """The same status and headers as GET has, also where that is an error, and no content."""
    env = server.create("FrozenLake-v1", render_mode="rgb_array")
    server.post(f"{env}/reset/")
    path = example_path(template, instance_id=env.rpartition("/")[2])
    for each in (path, example_path(template)):
        full, _ = ask(server, "GET", each)
        empty, content = ask(server, "HEAD", each)
        assert content == b""
        assert empty.status == full.status
        assert empty.headers.keys() == full.headers.keys()
        for name in full.headers.keys() - {*VOLATILE, "content-length"}:
            assert empty.headers[name] == full.headers[name]
        # A sample, and what counts, is another one each time.
        if not re.search("sample|metrics|envs/$|health|[0-9a-f]{8}/$", each):
            assert empty.headers["content-length"] == full.headers["content-length"]
    server.request("DELETE", f"{env}/")


@pytest.mark.parametrize("path", PAGES)
def test_pages_answer_head(server: Server, path: str) -> None:
    """So do the pages, their files and the document."""
    full, _ = ask(server, "GET", path)
    empty, content = ask(server, "HEAD", path)
    assert (empty.status, empty.headers["content-type"]) == (full.status, full.headers["content-type"])
    assert content == b""


def test_head_goes_on_on_a_connection_in_an_environments_process() -> None:
    """In a pipeline with steps, each reply is where it belongs, and none has content that its request did not ask for."""
    with start("handover") as server, handed(server) as (client, env, _):
        head = get(f"{env}/action_space/sample").replace(b"GET", b"HEAD", 1)
        client.send(step(env, "a"), head, step(env, "b"), get(f"{env}/action_space/sample"))
        assert client.answer().json["observation"] is not None
        line, headers = client.head()
        assert b" 200 " in line
        assert int(headers["content-length"]) > 0
        assert client.answer().json["observation"] is not None
        assert "action" in client.answer().json


def test_a_refused_head_has_no_content() -> None:
    """Without the key, of another origin's page, and of an unknown instance."""
    with Server("--api-key", "correct-horse-battery-staple") as server:
        for path in ("/v1/envs/", "/metrics", "/", "/v1/envs/00000000/render/"):
            answer, content = ask(server, "HEAD", path)
            assert (answer.status, content) == (401, b"")
        assert ask(server, "HEAD", "/v1/health/")[0].status == 200


def test_head_is_counted_as_what_it_is(server: Server) -> None:
    """The metrics have it at its operation, with nothing sent."""

    def counted() -> tuple[float, float]:
        text = server.get("/metrics").body.decode()
        names = (
            r'requests_total\{%soperation="listSnapshots",status="200"',
            r'sent_bytes_total\{%soperation="listSnapshots"',
        )
        # A router tells those of each shard.
        shards = (
            re.findall(rf"^gym_http_server_{each}\}} (\S+)" % '(?:shard="[0-9a-f]+",)?', text, re.MULTILINE)
            for each in names
        )
        return tuple(sum(map(float, each)) for each in shards)

    env = server.create()
    count, size = counted()
    assert ask(server, "HEAD", f"{env}/snapshots/")[0].status == 200
    assert counted() == (count + 1, size)


WGET = shutil.which("wget")


@pytest.mark.full
@pytest.mark.skipif(WGET is None, reason="wget is not installed")
@pytest.mark.parametrize("path", ["/v1/health/", "/metrics", "/openapi.yaml"])
def test_a_health_check_by_wget(server: Server, path: str) -> None:
    """`wget --spider`, which images of Docker use, finds the server healthy."""
    subprocess.run([WGET, "--quiet", "--spider", "--no-proxy", server.url + path], check=True, timeout=60)
