"""What a user of OpenEnv does with its own validator and clients: run by a Python that has `openenv` and not this package.

python openenv_session.py URL [PLAY…] [PATH…]: validates the environments at the paths and plays all that is here, or what is named;
prints what was found, as JSON. It is one process, because importing `openenv` takes seconds.
"""

# ruff: noqa: T201 -- it prints its finding

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import sys
from typing import Any

from openenv.cli.__main__ import main as command
from openenv.core import GenericEnvClient
from openenv.core.env_server.mcp_types import CallToolAction, ListToolsAction
from openenv.core.mcp_client import MCPToolClient

ACTIONS = {
    "CartPole-v1": lambda: {"action": random.randrange(2)},
    "lake": lambda: {"action": random.randrange(4)},
    "Blackjack-v1": lambda: {"action": random.randrange(2)},
    "tests/Talk-v0": lambda: {"action": random.choice(["go north", "look", "take lamp"])},
    "tests/Words-v0": lambda: {"action": [0.1, -0.1]},
}
SESSIONS = 64
MAX_STEPS = 600


async def episodes(url: str) -> dict[str, Any]:
    """A whole episode of each environment by the asynchronous client."""
    found = {}
    for name, action in ACTIONS.items():
        async with GenericEnvClient(base_url=f"{url}/openenv/{name}") as client:
            first = await client.reset(seed=7, episode_id="mine")
            steps, result = 0, first
            while not result.done and steps < MAX_STEPS:
                result = await client.step(action())
                steps += 1
            state = await client.state()
            found[name] = {
                "first": first.observation,
                "last": result.observation,
                "metadata": result.metadata,
                "reward": result.reward,
                "done": result.done,
                "steps": steps,
                "state": state,
            }
    return found


def synchronous_episodes(url: str) -> dict[str, Any]:
    """The same by the client's synchronous wrapper; returns whether each ended, and its steps as counted here and there."""
    found = {}
    for name, action in ACTIONS.items():
        with GenericEnvClient(base_url=f"{url}/openenv/{name}").sync() as client:
            result, steps = client.reset(seed=7), 0
            while not result.done and steps < MAX_STEPS:
                result = client.step(action())
                steps += 1
            found[name] = [result.done, steps, client.state()["step_count"]]
    return found


async def tool_episodes(url: str) -> dict[str, Any]:
    """The same by calls of the tool `act`."""
    found = {}
    for name, action in ACTIONS.items():
        async with MCPToolClient(base_url=f"{url}/openenv/{name}") as client:
            result, steps = {"done": (await client.reset(seed=7)).done}, 0
            while not result["done"] and steps < MAX_STEPS:
                result = await client.call_tool("act", **action())
                steps += 1
            found[name] = [result["done"], steps, (await client.state()).step_count]
    return found


def synchronous(url: str) -> dict[str, Any]:
    """Two episodes of CartPole on one connection of the synchronous wrapper, and an error."""
    with GenericEnvClient(base_url=f"{url}/openenv/CartPole-v1").sync() as client:
        lengths = []
        for _ in range(2):
            result = client.reset(seed=1)
            steps = 0
            while not result.done:
                result = client.step({"action": steps % 2})
                steps += 1
            lengths.append(steps)
        try:
            client.step({"action": 7})
        except RuntimeError as error:
            words = str(error)
        after = client.reset().observation["observation"]
        return {"lengths": lengths, "error": words, "after": after}


async def tools(url: str) -> dict[str, Any]:
    """An episode by tools, and steps on the WebSocket between them."""
    async with MCPToolClient(base_url=f"{url}/openenv/lake") as client:
        await client.reset(seed=3)
        names = [each.name for each in await client.list_tools()]
        first = await client.call_tool("act", action="move down")
        listed = await client.step(ListToolsAction())
        second = await client.step(CallToolAction(tool_name="act", arguments={"action": 1}))
        state = await client.state()
        for action in (2, 1, 2):
            await client.call_tool("act", action=action)
        last = await client.call_tool("act", action="move right")
        try:
            await client.call_tool("nope")
        except RuntimeError as error:
            words = str(error)
        return {
            "names": names,
            "first": first["text"],
            "listed": len(listed.observation.tools),
            "second": second.observation.result["data"]["text"],
            "steps": state.step_count,
            "last": last["text"],
            "error": words,
        }


async def at_once(url: str) -> dict[str, Any]:
    """As many sessions as a batch of generations has, each with an episode of its own."""

    async def play(seed: int) -> tuple[Any, int]:
        async with GenericEnvClient(base_url=f"{url}/openenv/CartPole-v1") as client:
            first = result = await client.reset(seed=seed)
            for step in range(10):
                result = await client.step({"action": step % 2})
            return [first.observation["observation"], result.observation["observation"]], (await client.state())[
                "step_count"
            ]

    played = await asyncio.gather(*(play(seed % 8) for seed in range(SESSIONS)))
    return {"different": len({json.dumps(each) for each, _ in played}), "steps": [steps for _, steps in played]}


def validate(url: str) -> dict[str, Any]:
    """Return exit code and report of `openenv validate`."""
    sys.argv = ["openenv", "validate", "--url", url]
    report = io.StringIO()
    with contextlib.redirect_stdout(report):
        try:
            command()
            code = 0
        except SystemExit as end:
            code = end.code or 0
    return {"code": code, "report": report.getvalue()}


def main() -> None:
    url, *further = sys.argv[1:]
    paths = [each for each in further if each.startswith("/")]
    named = [each for each in further if each not in paths]
    random.seed(5)
    found: dict[str, Any] = {}
    for play in (episodes, tool_episodes, tools, at_once, synchronous_episodes, synchronous):
        if not named or play.__name__ in named:
            result = play(url)
            found[play.__name__] = asyncio.run(result) if asyncio.iscoroutine(result) else result
    found["validated"] = {path: validate(f"{url}{path}") for path in paths}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
