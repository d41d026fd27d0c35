"""A web page that the user happens to visit, in a real browser, against a server on loopback."""

from __future__ import annotations

import json
import queue
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import flask
import pytest

from ..support.browser import SECONDS, _chromium, dump, opened, serving  # noqa: F401 -- a fixture
from ..support.serving import Server, eventually

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("_chromium")]

# Everything that a page may try without its user: simple requests, a preflighted one, an image, a frame and a form.
ATTACK = """
<iframe name="frame"></iframe><form method="post" target="frame" action="{server}/v1/shutdown/"></form>
<script>
const tried = async (what) => {{ try {{ return String((await what()).type); }} catch (error) {{ return "refused"; }} }};
const create = JSON.stringify({{env_id: "CartPole-v1"}});
const image = () => new Promise((done) => {{
  const each = new Image();
  each.onload = each.onerror = () => done({{type: "asked"}});
  each.src = "{server}/v1/envs/{instance}/action_space/sample";
}});
const frame = () => new Promise((done) => {{
  document.querySelector("iframe").onload = () => done({{type: "asked"}});
  document.forms[0].submit();
}});
(async () => ({{
  reads: await tried(() => fetch("{server}/v1/envs/")),
  reads_blindly: await tried(() => fetch("{server}/v1/envs/", {{mode: "no-cors"}})),
  shuts_down: await tried(() => fetch("{server}/v1/shutdown/", {{method: "POST", mode: "no-cors"}})),
  creates: await tried(() => fetch("{server}/v1/envs/", {{method: "POST", mode: "no-cors", body: create}})),
  preflighted: await tried(() => fetch("{server}/v1/envs/",
    {{method: "POST", headers: {{"Content-Type": "application/json"}}, body: create}})),
  image: await tried(image),
  frame: await tried(frame),
}}))().then((seen) => fetch("/report", {{method: "POST", body: JSON.stringify(seen)}}));
</script>
"""


def attack(server: Server, name: str, instance: str, home: Path) -> dict[str, Any]:
    """Open the page of an attacker, who is at that name of this machine; return what it tells of its attempts."""
    app = flask.Flask("attacker")
    reports: queue.Queue[dict[str, Any]] = queue.Queue()
    app.add_url_rule("/", view_func=lambda: ATTACK.format(server=server.url, instance=instance))

    @app.post("/report")
    def report() -> str:
        reports.put(json.loads(flask.request.data))
        return ""

    with serving(app) as url, opened(home, url.replace("127.0.0.1", name), "--host-resolver-rules=MAP * 127.0.0.1"):
        return reports.get(timeout=SECONDS)


@pytest.mark.parametrize("name", ["evil.example", "localhost"])
def test_it_cannot_drive_the_server(name: str, tmp_path: Path) -> None:
    """Whatever it sends, no environment is made or used, nothing is read, and the server goes on."""
    with Server() as server:
        env = server.create("CartPole-v1")
        seen = attack(server, name, env.rsplit("/", 1)[1], tmp_path)
        assert seen.pop("reads") == seen.pop("preflighted") == "refused"
        # The browser sends the others and hides their answers; the server has refused them.
        assert set(seen.values()) <= {"opaque", "asked"}
        assert len(server.get("/v1/envs/").json["envs"]) == 1
        assert server.get(f"{env}/").json["traffic"] == []


def test_a_named_origin_drives_it(tmp_path: Path) -> None:
    """The same page can do all that where the server names its origin, which shows that the attempts are real."""
    app = flask.Flask("friend")
    reports: queue.Queue[dict[str, Any]] = queue.Queue()
    page: list[str] = []
    app.add_url_rule("/", view_func=lambda: page[0])

    @app.post("/report")
    def report() -> str:
        reports.put(json.loads(flask.request.data))
        return ""

    with serving(app) as url:
        origin = url.replace("127.0.0.1", "localhost")
        with Server("--cors-origin", origin) as server:
            env = server.create("CartPole-v1")
            page.append(
                ATTACK.format(server=server.url, instance=env.rsplit("/", 1)[1]).replace("/v1/shutdown/", "/v1/health/")
            )
            with opened(tmp_path, origin):
                seen = reports.get(timeout=SECONDS)
            assert seen["reads"] == seen["preflighted"] == "cors"
            assert len(server.get("/v1/envs/").json["envs"]) == 2


def test_a_name_that_was_rebound_to_this_machine_reads_nothing(tmp_path: Path) -> None:
    """The home page, asked for by another name, is a problem that says so and shows nothing of the server."""
    with Server() as server:
        env = server.create("CartPole-v1")
        port = urlsplit(server.url).port
        page, _ = dump(tmp_path, f"http://evil.example:{port}/", "--host-resolver-rules=MAP * 127.0.0.1")
        assert "--allowed-host" in page
        assert env.rsplit("/", 1)[1] not in page
        page, _ = dump(tmp_path, f"http://localhost:{port}/")
        assert env.rsplit("/", 1)[1] in page


def test_a_link_to_the_server_can_be_followed(tmp_path: Path) -> None:
    """From a page of another site the browser comes to the home page by a navigation."""
    app = flask.Flask("friend")
    with Server("--access-log") as server, serving(app) as url:
        app.add_url_rule("/", view_func=lambda: f'<meta http-equiv="refresh" content="0; url={server.url}/">')
        with opened(tmp_path, url.replace("127.0.0.1", "localhost")):
            # The page, and what it loads, which is its own then.
            for path in ("/", "/static/refresh.js"):
                eventually(lambda path=path: [line for line in server.stderr if f"GET {path}" in line], SECONDS)
        assert not [line for line in server.stderr if " 403 " in line]
        assert [line for line in server.stderr if "GET / 200 " in line]
