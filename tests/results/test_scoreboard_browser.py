"""The scoreboard in Chromium: what the page looks like to a browser, and whether its videos really play."""

from __future__ import annotations

import json
import queue

import flask
import pytest

from gym_http_server.console import create_console, videos

from ..support.browser import SECONDS, _chromium, console_lines, dump, opened, serving  # noqa: F401 -- a fixture
from ..support.fake_results import Evaluation, Results
from ..support.films import film
from ..unit.console.test_console import View

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("_chromium")]

FILM = "openaigym.video.0.4711.video000008.mp4"
CAST = "openaigym.video.0.4711.video000027.json"
EVALUATION = Evaluation(videos=(FILM, CAST))
PAGE = f"/scoreboard/{EVALUATION.evaluation_id}"

# Runs in the page under its own content security policy, plays and seeks the video as a person would, and tells what it saw.
PROBE = """
const until = async (what) => { while (!what()) await new Promise((go) => setTimeout(go, 20)); };
const film = async () => {
  const video = document.querySelector("video");
  video.muted = true;
  await video.play();
  await until(() => video.currentTime > 0.2);
  const played = video.currentTime;
  video.currentTime = video.duration - 0.5;
  await until(() => !video.seeking && video.readyState >= 2);
  return { played, sought: video.currentTime, duration: video.duration, width: video.videoWidth, state: video.readyState };
};
const cast = async () => {
  const screen = document.querySelector(".cast pre"), button = document.querySelector(".cast button");
  await until(() => screen.textContent !== "");
  const first = screen.textContent, agent = screen.querySelector(".sgr41").textContent;
  button.click();
  await until(() => button.textContent === "Pause");
  await until(() => screen.textContent !== first);
  const second = screen.textContent;
  await until(() => button.textContent === "Play");
  return { first, agent, second };
};
Promise.all([film(), cast()]).then(([film, cast]) => ({ film, cast }), (error) => ({ error: String(error) }))
  .then((seen) => fetch("/report", { method: "POST", body: JSON.stringify(seen) }));
"""


@pytest.fixture
def results():
    frames = [
        "\x1b[2J\x1b[1;1H  (Right)\r\nF\x1b[41mS\x1b[0m<b>F\r\n",
        "\x1b[2J\x1b[1;1H  (Down)\r\nFF\x1b[1;41mH\x1b[0m\r\n",
    ]
    cast = {"version": 1, "width": 80, "height": 24, "duration": 0.6, "stdout": [[0.3, each] for each in frames]}
    return Results(all=[EVALUATION], files={FILM: film(), CAST: json.dumps(cast).encode()})


def with_script(app, markup):
    """Have each page of `app` end with `markup`."""

    @app.after_request
    def add(response):
        if response.mimetype == "text/html":
            response.set_data(response.get_data(as_text=True).replace("</body>", f"{markup}</body>"))
        return response


def test_the_pages_are_shown_without_complaints(results, tmp_path):
    """Chromium shows the scoreboard and an evaluation, and finds nothing to complain about."""
    with serving(create_console(View(), results)) as url:
        board, complaints = dump(tmp_path, f"{url}/scoreboard")
        assert 'href="/scoreboard/20261123T093112-5f2b9c1e">ppo</a>' in board
        assert complaints == []
        page, complaints = dump(tmp_path, f"{url}{PAGE}")
        assert '<path class="mean" d="M' in page
        assert "<button" in page
        assert complaints == []


def test_a_violation_of_the_policy_would_be_seen(results, tmp_path):
    """The log that is empty for our pages is not empty for a page with an inline script."""
    app = create_console(View(), results)
    with_script(app, "<script>document.title = 'taken over'</script>")
    with serving(app) as url:
        page, complaints = dump(tmp_path, f"{url}/scoreboard")
    assert "<title>taken over" not in page
    assert any("Content Security Policy" in line for line in complaints)


def test_videos_play_and_seek(results, tmp_path, monkeypatch):
    """A film plays, and seeks by parts of which each is sent in the beginning only; a cast plays frame by frame."""
    monkeypatch.setattr(videos, "MAX_PIECE_BYTES", len(results.files[FILM]) // 5)
    app = create_console(View(), results)
    reports: queue.Queue[dict] = queue.Queue()
    parts = []
    with_script(app, '<script src="/probe.js" defer></script>')
    app.add_url_rule("/probe.js", view_func=lambda: flask.Response(PROBE, content_type="text/javascript"))

    @app.post("/report")
    def report():
        reports.put(json.loads(flask.request.data))
        return ""

    @app.after_request
    def count(response):
        if response.status_code == 206:
            parts.append(response.headers["Content-Range"])
        return response

    with serving(app) as url, opened(tmp_path, f"{url}{PAGE}") as log:
        seen = reports.get(timeout=SECONDS)
    assert "error" not in seen, seen
    assert seen["film"]["played"] > 0.2
    assert seen["film"]["sought"] == pytest.approx(seen["film"]["duration"] - 0.5, abs=0.4)
    assert seen["film"]["width"] == 128
    assert seen["film"]["state"] >= 2
    assert len(parts) >= 3
    assert seen["cast"] == {"first": "  (Right)\nFS<b>F\n", "agent": "S", "second": "  (Down)\nFFH\n"}
    assert console_lines(log.read_text(errors="replace")) == []
