"""The command that takes the pictures of README and manual: `python -m tests.manual.pictures` (needs Chromium)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gym_http_server.client import Client

from ..support.driver import Browser, browsing
from ..support.serving import ROOT, Server

FOLDER = ROOT / "gym_http_server" / "console" / "static"
HOME_SIZE = (1280, 860)
EVALUATION_SIZE = (1280, 1240)
INSTANCE_SIZE = (1280, 1180)
GENERATIONS = 15
POPULATION = 20
ELITE = 4


def main() -> None:
    """Start a server, use it, and photograph its pages."""
    with tempfile.TemporaryDirectory() as home, Server("--results-root", home) as server:
        evaluation_id = evaluate(server.url)
        make_instances(server)
        instance_id = train(server.url)
        with browsing(Path(home)) as browser:
            take(browser, f"{server.url}/scoreboard/{evaluation_id}", EVALUATION_SIZE, FOLDER / "scoreboard.png")
            take(browser, server.url, HOME_SIZE, FOLDER / "home.png")
            parts = ("#frames canvas", "#curve svg", "#traffic td", "#about dd")
            take(browser, f"{server.url}/instances/{instance_id}", INSTANCE_SIZE, FOLDER / "instance.png", parts)


def make_instances(server: Server) -> None:
    """Make some instances and step them."""
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


def evaluate(url: str) -> str:
    """Learn CartPole, recorded; return the id of the evaluation."""
    with Client(url, packed=False) as client:
        env = client.create_env("CartPole-v1", seed=0)["instance_id"]
        client.start_monitor(env, "run", video_callable=True)
        directory = client.get_monitor(env)["directory"]
        learn(client, env)
        client.close_env(env)
        return client.upload_recording(directory, "none", algorithm_id="cross-entropy method")["evaluation_id"]


def train(url: str) -> str:
    """Learn CartPole and begin another episode; return the id of the instance."""
    with Client(url, packed=False) as client:
        env = client.create_env("CartPole-v1", seed=0, render_mode="rgb_array", name="cross-entropy method")[
            "instance_id"
        ]
        weights = learn(client, env)
        observation = client.reset_env(env)["observation"]
        for _ in range(100):
            observation = client.step_env(env, int(np.dot(observation, weights) > 0))["observation"]
        return env


def learn(client: Client, env: str) -> np.ndarray:
    """Learn CartPole by the cross-entropy method; return the weights."""
    draws = np.random.default_rng(0)
    mean, deviation = np.zeros(4), np.ones(4)
    for _ in range(GENERATIONS):
        weights = draws.normal(mean, deviation, (POPULATION, 4))
        returns = [_play(client, env, candidate) for candidate in weights]
        best = weights[np.argsort(returns)[-ELITE:]]
        mean, deviation = best.mean(0), best.std(0) + 0.05
    return mean


def take(browser: Browser, url: str, size: tuple[int, int], path: Path, parts: Iterable[str] = ()) -> None:
    """Photograph a page, once these parts of it are there."""
    browser.resize(size)
    browser.open(url)
    for part in parts:
        browser.find(part)
    path.write_bytes(browser.driver.get_screenshot_as_png())


def _play(client: Client, env: str, weights: np.ndarray) -> float:
    observation, total, done = client.reset_env(env)["observation"], 0.0, False
    while not done:
        reply = client.step_env(env, int(np.dot(observation, weights) > 0))
        observation, done = reply["observation"], reply["done"]
        total += reply["reward"]
    return total


if __name__ == "__main__":
    main()
