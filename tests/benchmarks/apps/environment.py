"""The floor's environment: decode the action, step, encode the same members as our reply, and nothing else."""

from __future__ import annotations

import gymnasium
import orjson


class Environment:
    """An environment whose operations take and return JSON bodies."""

    def __init__(self, env_id: str) -> None:
        # As our server makes it.
        self._env = gymnasium.make(env_id, disable_env_checker=True, render_mode="rgb_array")

    def reset(self, _: bytes) -> bytes:
        observation, info = self._env.reset()
        return orjson.dumps({"observation": observation, "info": info}, option=orjson.OPT_SERIALIZE_NUMPY)

    def step(self, body: bytes) -> bytes:
        observation, reward, terminated, truncated, info = self._env.step(orjson.loads(body)["action"])
        reply = {
            "observation": observation,
            "reward": float(reward),
            "done": terminated or truncated,
            "terminated": terminated,
            "truncated": truncated,
            "info": info,
        }
        return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)

    def close(self) -> None:
        self._env.close()
