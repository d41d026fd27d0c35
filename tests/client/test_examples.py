"""The example programs, against a loopback server."""

from __future__ import annotations

import pytest

from gym_http_server import example_agent, example_client
from gym_http_server.client import Client

from ..support.loopback import reply
from ..support.serving import Server


def play(request):
    """Answer as a server does whose episodes have two steps of reward 1."""
    if request.path == "/v1/envs/":
        return reply({"instance_id": "a1", "env_id": "CartPole-v0", "library": "gymnasium 1.0"})
    if request.path.endswith("/sample"):
        return reply({"action": 1})
    if request.path.endswith("/step/"):
        play.steps += 1
        done = play.steps % 2 == 0
        return reply({"observation": [0.5] * 99, "reward": 1.0, "done": done, "info": {}})
    if request.path.endswith("/monitor/"):
        return reply({"directory": "/srv/tmp/random-agent-results"})
    return reply({"observation": [0.0], "info": {"name": "Box"}})


@pytest.fixture
def played(loopback):
    play.steps = 0
    loopback.answer = play
    return loopback


def test_the_example_client_takes_one_step_and_closes(played, capsys):
    """The example client makes an environment, takes one step, prints it with long values cut, and closes."""
    assert example_client.main(["--url", played.url]) == 0
    paths = [request.path for request in played.requests]
    assert paths[0] == "/v1/envs/"
    assert paths.count("/v1/envs/a1/step/") == 1
    assert paths[-1] == "/v1/envs/a1/close/"
    printed = capsys.readouterr().out
    assert "instance:           a1, CartPole-v0 of gymnasium 1.0\n" in printed
    assert "… (495 characters)\n" in printed


def test_the_example_agent_plays_its_episodes_and_prints_the_mean_return(played, capsys):
    """The example agent plays the episodes asked for, recorded, and prints where that is, return and speed."""
    assert example_agent.main(["--url", played.url, "--episodes", "3", "--seed", "0", "--video-every", "20"]) == 0
    assert played.requests[0].json == {"env_id": "CartPole-v0", "seed": 0, "lease": 240.0}
    assert played.requests[1].path == "/v1/envs/a1/monitor/start/"
    recording = {"directory": "tmp/random-agent-results", "force": True, "resume": False, "video_callable": 20}
    assert played.requests[1].json == recording
    assert played.requests[-1].path == "/v1/envs/a1/close/"
    printed = capsys.readouterr()
    assert printed.out.startswith("recorded in /srv/tmp/random-agent-results\n")
    assert "3 episodes, 6 steps: mean return 2.00 ± 0.00, " in printed.out
    assert "mean return 2.00" in printed.err


def test_the_example_agent_closes_its_instance_when_interrupted(played, monkeypatch, capsys):
    """Ctrl-C ends the example agent with the instance closed and exit code 130."""
    step = Client.step_env

    def interrupted(self, *arguments):
        if play.steps == 3:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(Client, "step_env", interrupted)
    assert example_agent.main(["--url", played.url]) == 130
    assert played.requests[-1].path == "/v1/envs/a1/close/"
    assert "1 episodes, 2 steps" in capsys.readouterr().out


@pytest.mark.parametrize("program", [example_agent, example_client])
def test_an_example_closes_its_instance_when_the_server_refuses(loopback, program, capsys):
    """A refused request ends an example with one line on stderr, exit code 1 and the instance closed."""
    play.steps = 0
    loopback.answer = lambda request: (
        reply({"detail": "it broke"}, "502 Bad Gateway") if "/step/" in request.path else play(request)
    )
    assert program.main(["--url", loopback.url]) == 1
    assert loopback.requests[-1].path == "/v1/envs/a1/close/"
    assert capsys.readouterr().err.endswith("error: 502 Bad Gateway: it broke\n")


@pytest.mark.parametrize("program", [example_agent, example_client])
def test_an_example_without_a_server_says_so_in_one_line(unreachable, program, capsys):
    """An example whose server is not running prints one line on stderr, no traceback, and exits with 1."""
    assert program.main(["--url", unreachable]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith(f"error: cannot connect to {unreachable}")


def test_an_example_sends_the_key_of_the_option_or_the_variable(monkeypatch, capsys):
    """--api-key and GYM_HTTP_SERVER_API_KEY open a server that requires a key, and without them the example says so."""
    with Server("--api-key", "k" * 32) as server:
        assert example_client.main(["--url", server.url]) == 1
        assert "requires a key" in capsys.readouterr().err
        assert example_client.main(["--url", server.url, "--api-key", "k" * 32]) == 0
        monkeypatch.setenv("GYM_HTTP_SERVER_API_KEY", "k" * 32)
        assert example_client.main(["--url", server.url]) == 0
