"""From an agent to the scoreboard: the example agent's recording, uploaded, and on the page that people look at."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from gym_http_server import load_results

from ..conftest import start
from ..support.serving import ROOT


def test_what_the_example_agent_records_is_on_the_scoreboard(tmp_path: Path) -> None:
    """100 episodes with a video of every 20th become an evaluation, its page plots them, and the videos can be had."""
    with start("handover", "--results-root", str(tmp_path)) as server:
        command = [sys.executable, "-m", "gym_http_server.example_agent", "--url", server.url]
        command += ["--env-id", "CartPole-v1", "--video-every", "20", "--seed", "1"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
        [directory] = re.findall(r"^recorded in (.+)$", done.stdout, re.MULTILINE)
        assert directory == str(tmp_path / "tmp" / "random-agent-results")
        returns = load_results(directory)["episode_rewards"]
        assert len(returns) == 100

        made = server.post("/v1/upload/", {"training_dir": directory, "api_key": "any", "algorithm_id": "random"})
        assert made.status == 200
        evaluation = made.json
        assert (evaluation["env_id"], evaluation["algorithm_id"]) == ("CartPole-v1", "random")
        assert evaluation["episodes"] == 100
        assert evaluation["best_mean_return"] == evaluation["mean_return"] == sum(returns) / 100
        assert evaluation["reward_threshold"] == 475.0
        assert [name[-10:] for name in evaluation["videos"]] == [f"{number:06}.mp4" for number in range(0, 100, 20)]

        found = server.get(f"/v1/evaluations/{evaluation['evaluation_id']}/").json
        assert found["curve"]["episode_returns"] == returns
        board = server.get("/scoreboard", headers={"Accept": "text/html"}, check=False).body.decode()
        assert "CartPole-v1" in board
        assert evaluation["evaluation_id"] in board
        page = server.get(
            f"/scoreboard/{evaluation['evaluation_id']}", headers={"Accept": "text/html"}, check=False
        ).body.decode()
        assert "<svg" in page
        sources = re.findall(r'<video[^>]*?src="([^"]+)"|<source[^>]*?src="([^"]+)"', page)
        assert len(sources) == 5
        part = server.get("".join(sources[0]), headers={"Range": "bytes=0-99"}, check=False)
        assert part.status == 206
        assert part.body[4:8] == b"ftyp"
