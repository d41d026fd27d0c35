"""The original's style: gym-http-api's server, a Flask app under the development server, with today's Gymnasium.

python -m tests.benchmarks.apps.original

A connection for each request, as the original had it: Werkzeug's development server cannot keep one even today, because
after each reply it reads away what the client sends next. Written after https://github.com/openai/gym-http-api/blob/master/gym_http_server.py
"""

from __future__ import annotations

import logging
import uuid
from typing import Any

import click
import gymnasium
import numpy as np
from flask import Flask, jsonify, request
from werkzeug.serving import make_server


class Envs:
    """The live environments by id."""

    def __init__(self) -> None:
        self.envs: dict[str, gymnasium.Env[Any, Any]] = {}
        self.id_len = 8

    def create(self, env_id: str) -> str:
        instance_id = uuid.uuid4().hex[: self.id_len]
        self.envs[instance_id] = gymnasium.make(env_id)
        return instance_id

    def reset(self, instance_id: str) -> Any:
        observation, _ = self.envs[instance_id].reset()
        return np.array(observation).tolist()

    def step(self, instance_id: str, action: Any) -> tuple[Any, float, bool, dict[str, Any]]:
        nice_action = action if isinstance(action, int) else np.array(action)
        observation, reward, terminated, truncated, info = self.envs[instance_id].step(nice_action)
        return np.array(observation).tolist(), reward, terminated or truncated, info

    def close(self, instance_id: str) -> None:
        self.envs.pop(instance_id).close()


app = Flask(__name__)
envs = Envs()


@app.route("/v1/envs/", methods=["POST"])
def env_create():
    return jsonify(instance_id=envs.create(request.get_json()["env_id"]))


@app.route("/v1/envs/<instance_id>/reset/", methods=["POST"])
def env_reset(instance_id: str):
    return jsonify(observation=envs.reset(instance_id))


@app.route("/v1/envs/<instance_id>/step/", methods=["POST"])
def env_step(instance_id: str):
    observation, reward, done, info = envs.step(instance_id, request.get_json()["action"])
    return jsonify(observation=observation, reward=reward, done=done, info=info)


@app.route("/v1/envs/<instance_id>/close/", methods=["POST"])
def env_close(instance_id: str):
    envs.close(instance_id)
    return jsonify()


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    click.echo(f"listening on http://127.0.0.1:{server.port}")
    server.serve_forever()


if __name__ == "__main__":
    main()
