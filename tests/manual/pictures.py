"""The command that takes the README's picture of the home page: `python -m tests.manual.pictures` (needs Chromium)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..driver import browsing
from ..serving import ROOT, Server

PICTURE = ROOT / "gym_http_server" / "console" / "static" / "home.png"
SIZE = (1280, 860)


def main() -> None:
    """Start a server with some instances on it and photograph its home page."""
    with tempfile.TemporaryDirectory() as home, Server("--results-root", home) as server:
        for env_id, steps, metadata in (
            ("CartPole-v1", 800, {"name": "ppo baseline", "labels": {"owner": "ada", "run": "17"}}),
            ("LunarLander-v3", 600, {"name": "dqn sweep", "labels": {"owner": "grace"}}),
            ("FrozenLake-v1", 250, {}),
        ):
            server.post(f"{server.create(env_id, **metadata)}/rollout/", {"policy": "random", "steps": steps})
        batch = server.create("CartPole-v1", num_envs=64)
        server.post(f"{batch}/batch/reset/")
        for _ in range(120):
            server.post(f"{batch}/batch/step/", {"actions": [0, 1] * 32})
        with browsing(Path(home)) as browser:
            browser.resize(SIZE)
            browser.open(server.url)
            PICTURE.write_bytes(browser.driver.get_screenshot_as_png())


if __name__ == "__main__":
    main()
