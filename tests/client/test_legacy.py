"""The method names of the original client, against a real server."""

from __future__ import annotations

import pytest

from gym_http_server.client import Client, ServerProblem


@pytest.fixture
def client(server):
    with Client(server.url) as made:
        yield made


def test_a_program_of_the_original_client_runs(client):
    """A whole session with the original's methods gives what the original gave."""
    instance_id = client.env_create("CartPole-v0")
    assert client.env_list_all()[instance_id].startswith("CartPole-v")
    assert client.env_action_space_info(instance_id)["n"] == 2
    info = client.env_observation_space_info(instance_id)
    assert (info["name"], info["shape"]) == ("Box", [4])
    observation = client.env_reset(instance_id)
    assert len(observation) == 4
    action = client.env_action_space_sample(instance_id)
    assert client.env_action_space_contains(instance_id, action) is True
    assert client.env_action_space_contains(instance_id, 2) is False
    result = client.env_step(instance_id, action, render=True)
    observation, reward, done, details = result
    assert type(result) is list
    assert len(observation) == 4
    assert (reward, done, details) == (1.0, False, {})
    client.env_close(instance_id)
    assert instance_id not in client.env_list_all()


def test_a_recording_of_the_original_client_is_uploaded(client, tmp_path, monkeypatch):
    """Monitor and upload take what the original's took, and answer nothing; the key may be in its variable."""
    instance_id = client.env_create("CartPole-v0")
    client.env_monitor_start(instance_id, str(tmp_path), force=True, resume=False, video_callable=False)
    client.env_reset(instance_id)
    while not client.env_step(instance_id, 1)[2]:
        pass
    assert client.env_monitor_close(instance_id) is None
    monkeypatch.delenv("OPENAI_GYM_API_KEY", raising=False)
    with pytest.raises(ServerProblem, match="api_key"):
        client.upload(str(tmp_path))
    monkeypatch.setenv("OPENAI_GYM_API_KEY", "anything")
    assert client.upload(str(tmp_path), algorithm_id="original") is None
    client.env_close(instance_id)


def test_the_original_compares_the_observation_space_with_its_description(client):
    """`env_observation_space_contains` compares each member with that of the space, as the original's server did."""
    instance_id = client.env_create("CartPole-v1")
    assert client.env_observation_space_contains(instance_id, {"name": "Box", "shape": [4]}) is True
    assert client.env_observation_space_contains(instance_id, {"shape": [5]}) is False
    client.env_close(instance_id)


def test_an_error_has_the_status_code_of_the_originals(client):
    """An error has `status_code` and `message`, as the original's ServerError had."""
    with pytest.raises(ServerProblem) as caught:
        client.env_reset("bad_id")
    assert caught.value.status_code == caught.value.status == 400
    assert "Instance_id" in caught.value.message
