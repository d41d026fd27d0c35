"""An example: a random agent whose episodes the server records.

python -m gym_http_server.example_agent --env-id CartPole-v0 --episodes 100 --video-every 20
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

from tqdm import tqdm

from .client import Client, ServerProblem
from .config import variable_name

KEY_VARIABLE = variable_name("api_key")


class RandomAgent:
    """Takes actions that the server samples: a request for the action and one for the step.

    Args:
        client: the client to use.
        instance_id: the instance to act in.
    """

    def __init__(self, client: Client, instance_id: str) -> None:
        self._client = client
        self._instance_id = instance_id
        self.returns: list[float] = []
        self.steps = 0
        self.seconds = 0.0

    def run_episode(self) -> None:
        """Play one episode to its end and keep its return."""
        started = time.perf_counter()
        self._client.reset_env(self._instance_id)
        total, steps, done = 0.0, 0, False
        while not done:
            action = self._client.sample_action(self._instance_id)
            reply = self._client.step_env(self._instance_id, action)
            total += reply["reward"]
            done = reply["done"]
            steps += 1
        self.returns.append(total)
        self.steps += steps
        self.seconds += time.perf_counter() - started

    def summary(self) -> str:
        """Return the mean return ± its standard deviation, and the speed."""
        mean, deviation = statistics.fmean(self.returns), statistics.pstdev(self.returns)
        speed = self.steps / self.seconds
        return (
            f"{len(self.returns)} episodes, {self.steps:,} steps: mean return {mean:.2f} ± {deviation:.2f}, "
            f"{speed:,.0f} steps per second"
        )


def run(client: Client, env_id: str, episodes: int, seed: int | None, directory: str, video_every: int) -> None:
    """Play the episodes in a new environment with a progress bar; print where they are recorded, and the summary."""
    instance_id = client.create_env(env_id, seed=seed)["instance_id"]
    agent = RandomAgent(client, instance_id)
    recorded = ""
    try:
        client.start_monitor(instance_id, directory, force=True, video_callable=video_every)
        recorded = client.get_monitor(instance_id)["directory"]
        with tqdm(total=episodes, unit="episode") as bar:
            for _ in range(episodes):
                agent.run_episode()
                bar.set_postfix_str(f"mean return {statistics.fmean(agent.returns):.2f}", refresh=False)
                bar.update()
    finally:
        client.close_env(instance_id)
        if recorded:
            sys.stdout.write(f"recorded in {recorded}\n")
        if agent.returns:
            sys.stdout.write(f"{agent.summary()}\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the example with command-line arguments; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gym_http_server.example_agent", description="An agent at random.")
    parser.add_argument("--url", default="http://127.0.0.1:5000", help="where the server is (default: %(default)s)")
    parser.add_argument(
        "--api-key",
        default=os.environ.get(KEY_VARIABLE),
        help=f"its key, where it requires one (default: ${KEY_VARIABLE})",
    )
    parser.add_argument("--env-id", default="CartPole-v0", help="the environment to make (default: %(default)s)")
    parser.add_argument("--episodes", type=_positive, default=100, help="how many to play (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="makes the run repeatable")
    parser.add_argument(
        "--directory",
        default="tmp/random-agent-results",
        help="where the server records the episodes, in place of what was recorded there (default: %(default)s)",
    )
    parser.add_argument(
        "--video-every", type=int, default=0, metavar="N", help="record a video of every Nth episode (default: of none)"
    )
    options = parser.parse_args(arguments)
    try:
        with Client(options.url, options.api_key) as client:
            run(client, options.env_id, options.episodes, options.seed, options.directory, options.video_every)
    except (ConnectionError, TimeoutError, ServerProblem, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
