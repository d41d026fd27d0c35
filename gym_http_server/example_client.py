"""An example: one step in an environment on a running server.

python -m gym_http_server.example_client --env-id CartPole-v0
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from .client import Client, ServerProblem
from .config import variable_name

KEY_VARIABLE = variable_name("api_key")


def run(client: Client, env_id: str) -> None:
    """Make the environment, take one step in it, print the replies and close it."""
    created = client.create_env(env_id)
    instance_id = created["instance_id"]
    try:
        _show("instance", f"{instance_id}, {created['env_id']} of {created['library']}")
        _show("action space", client.get_action_space(instance_id))
        _show("observation space", client.get_observation_space(instance_id))
        _show("first observation", client.reset_env(instance_id)["observation"])
        action = client.sample_action(instance_id)
        _show("action", action)
        for name, value in client.step_env(instance_id, action).items():
            _show(name, value)
    finally:
        client.close_env(instance_id)


def main(arguments: list[str] | None = None) -> int:
    """Run the example with command-line arguments; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gym_http_server.example_client", description="One step in one env."
    )
    parser.add_argument("--url", default="http://127.0.0.1:5000", help="where the server is (default: %(default)s)")
    parser.add_argument(
        "--api-key",
        default=os.environ.get(KEY_VARIABLE),
        help=f"its key, where it requires one (default: ${KEY_VARIABLE})",
    )
    parser.add_argument("--env-id", default="CartPole-v0", help="the environment to make (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        with Client(options.url, options.api_key) as client:
            run(client, options.env_id)
    except (ConnectionError, TimeoutError, ServerProblem, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _show(name: str, value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    # An image has thousands of numbers.
    shown = text if len(text) <= 200 else f"{text[:200]}… ({len(text):,} characters)"
    sys.stdout.write(f"{name + ':':<19} {shown}\n")


if __name__ == "__main__":
    sys.exit(main())
