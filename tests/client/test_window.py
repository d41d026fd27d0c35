"""`render_mode="human"`: the frames of a remote environment in a window of the client."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pygame
import pytest

from gym_http_server.client import RemoteEnv, RemoteVectorEnv, ServerProblem

from ..conftest import start

REMOTE = "gym_http_server.client:gym_http_server/Remote-v0"


@pytest.fixture(scope="module")
def server():
    with start("process") as running:
        yield running


@pytest.fixture(autouse=True)
def display(monkeypatch):
    """A display that nobody sees."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def shown():
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


MAKERS = {
    "packed": lambda url: RemoteEnv(url, "CartPole-v1", render_mode="human", seed=3),
    "json": lambda url: RemoteEnv(url, "CartPole-v1", render_mode="human", seed=3, packed=False),
    "by-id": lambda url: gymnasium.make(REMOTE, url=url, env_id="CartPole-v1", render_mode="human", seed=3),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_each_frame_is_shown_in_a_window(server, make):
    """That of the reset and of each step are those of a local twin; the window closes with the environment."""
    env, local = make(server.url), gymnasium.make("CartPole-v1", render_mode="rgb_array")
    assert (env.render_mode, env.spec.kwargs["render_mode"]) == ("human", "human")
    env.reset()
    local.reset(seed=3)
    np.testing.assert_array_equal(shown(), local.render())
    for action in (0, 1):
        env.step(action)
        local.step(action)
        np.testing.assert_array_equal(shown(), local.render())
        assert env.render() is None
    assert pygame.display.get_caption()[0] == f"CartPole-v1 on {server.url}"
    env.close()
    local.close()
    assert not pygame.display.get_init()


def test_an_environment_that_has_no_picture_is_refused(server):
    """In the server's words, and no window stays."""
    with pytest.raises(ServerProblem, match="rgb_array"):
        RemoteEnv(server.url, "tests/Everything-v0", render_mode="human")
    assert not pygame.display.get_init()


def test_a_batch_is_refused(server):
    """No instance is made."""
    before = server.get("/v1/envs/").json["envs"]
    with pytest.raises(ValueError, match=r"human.* is not for a batch"):
        RemoteVectorEnv(server.url, "CartPole-v1", 2, render_mode="human")
    assert server.get("/v1/envs/").json["envs"] == before


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (
            "import sys; sys.modules['pygame'] = None",
            f"{sys.executable} -m pip install 'gymnasium[classic-control]>=1.1'",
        ),
        ("import os; os.environ['SDL_VIDEODRIVER'] = 'x11'; os.environ['DISPLAY'] = ':77'", "no display can be opened"),
    ],
)
def test_without_pygame_or_a_display_it_is_refused_with_words(server, before, said):
    """No instance is made, and pygame says nothing."""
    instances = server.get("/v1/envs/").json["envs"]
    program = f"{before}\nfrom gym_http_server.client import RemoteEnv\nimport sys\n"
    program += "RemoteEnv(sys.argv[1], 'CartPole-v1', render_mode='human')"
    done = subprocess.run(
        [sys.executable, "-c", program, server.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == ""
    assert said in done.stderr.splitlines()[-1]
    assert server.get("/v1/envs/").json["envs"] == instances
