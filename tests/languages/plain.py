"""What the programs of a language have to say, by requests that no generator made."""

from __future__ import annotations

from typing import Any

from ..support.serving import Server


def plain_episodes(server: Server) -> dict[str, Any]:
    """Return what a program of episodes has to print."""
    created = server.post("/v1/envs/", {"env_id": "CartPole-v1"}).json
    env = f"/v1/envs/{created['instance_id']}"
    played = []
    for seed in (1, 2):
        observation = server.post(f"{env}/reset/", {"seed": seed}).json["observation"]
        steps, total, done = 0, 0.0, False
        while not done:
            step = server.post(f"{env}/step/", {"action": 1 if observation[2] > 0 else 0}).json
            observation, done = step["observation"], step["done"]
            steps, total = steps + 1, total + step["reward"]
        played.append([steps, total, observation])
    problem = server.post(f"{env}/step/", {"action": 2}).json
    server.post(f"{env}/close/")
    told = [problem[name] for name in ("status", "type", "detail")]
    return {"env_id": created["env_id"], "episodes": played, "problem": told}


def plain_session(server: Server) -> dict[str, Any]:
    """Return what a program of a session has to print."""
    created = server.post("/v1/envs/", {"env_id": "CartPole-v1"}).json
    env = f"/v1/envs/{created['instance_id']}"
    actions, observations = (server.get(f"{env}/{kind}_space/").json["info"] for kind in ("action", "observation"))
    first = observation = server.post(f"{env}/reset/", {"seed": 42}).json["observation"]
    total, episodes = 0.0, 0
    for _ in range(200):
        step = server.post(f"{env}/step/", {"action": 1 if observation[2] > 0 else 0}).json
        observation, total = step["observation"], total + step["reward"]
        if step["done"]:
            observation, episodes = server.post(f"{env}/reset/").json["observation"], episodes + 1
    assert episodes > 2, "the session was to have resets in it"
    batch = server.create(num_envs=8)
    batch_first = server.post(f"{batch}/batch/reset/", {"seed": 7}).json["observations"]
    batch_last = server.post(f"{batch}/batch/step/", {"actions": [0, 1] * 4}).json["observations"]
    problem = server.post(f"{env}/step/", {"action": 2}).json
    for each in (env, batch):
        assert server.post(f"{each}/close/").json == {}
    gone = server.get(f"{env}/").json
    return {
        "env_id": created["env_id"],
        "library": created["library"],
        "action_space": [actions["name"], actions["n"]],
        "observation_space": [observations[name] for name in ("name", "shape", "low", "high")],
        "first": first,
        "last": observation,
        "total_reward": total,
        "episodes": episodes,
        "batch_first": batch_first,
        "batch_last": batch_last,
        "problem": [problem[name] for name in ("type", "title", "status", "detail")],
        "gone": [gone[name] for name in ("type", "title", "status")],
    }
