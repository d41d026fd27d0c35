"""The process beside a router that is connected to Ray: `python -m gym_http_server.engines.ray.driver`.

The first line of its stdin is a `Plan` as JSON, further lines are commands; at the end of stdin it leaves the cluster without a
word, because the router has died. It writes JSON lines to stdout: the state of the cluster when it changes and once a second.

    {"grow": 3}                  start shards for three instances
    {"report": "01f"}        →   {"reported": "01f"} once it is known whether that shard lives
    {"leave": true}          →   the end of the process: the router stops, and shards end if it was the last and true

                             ←   {"state": {...}}
                             ←   {"problem": "why the cluster does not answer", "ended": true if it never will}; asked again
                             ←   {"failed": "why the cluster cannot be joined"}, and the end of the process
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from typing import Any, Final

from .deaths import reason_in

QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DEDUP_LOGS": "0",
}
"""Variables for Ray: it tells nobody that it is used, and warns of nothing that is settled here."""

OBJECT_STORE_BYTES: Final = 100 * 1024 * 1024
"""Size of a local Ray's object store, of which nothing is used; Ray would take a third of the memory."""
CLIENT: Final = "ray://"
"""Beginning of the address of a Ray that is reached through its client server."""
CLIENT_NEEDS: Final = (
    "ray:// needs a package that is not installed: install it with: python -m pip install 'ray[client]'. A machine of the "
    "cluster needs none: there --ray-address auto is enough"
)
WATCH_SECONDS: Final = 1.0
REJOIN_SECONDS: Final = 30.0
"""Time without an answer of the directory, though there is a head, after which another process joins the cluster."""
ANSWER_SECONDS: Final = 3.0
"""Time in which the directory answers; after it the cluster counts as unreachable."""
ORPHAN_SECONDS: Final = 2.0
"""Maximum time for which this process outlives the router."""
JOIN_SECONDS: Final = 60.0
"""Maximum time for the directory to start."""


def connect(address: str) -> str:
    """Connect to the Ray at an address, or start a local one; return where it is, empty for a local one.

    Raises:
        ConnectionError, RuntimeError, ValueError: as Ray has it.
        ModuleNotFoundError: what Ray needs for `ray://` is not installed.
    """
    if address.startswith(CLIENT) and importlib.util.find_spec("grpc") is None:
        raise ModuleNotFoundError(CLIENT_NEEDS)
    import ray

    from .fleet import NAMESPACE

    options: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "configure_logging": False}
    if address in ("", "auto"):
        try:
            ray.init("auto", **options)
        except ConnectionError:
            if address:
                raise
            address = "local"
    elif address != "local":
        ray.init(address, **options)
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        ray.init("local", **options)
        return ""
    return address if address.startswith(CLIENT) else str(ray.get_runtime_context().gcs_address)


async def result(call: Any) -> Any:
    """Return the result of a call of an actor; references of Ray's client cannot be awaited."""
    return await asyncio.wrap_future(call.future())


class Driver:
    """The connection of one router to the directory.

    Args:
        plan: what the router wants; see `shards.Plan`.
        write: writes a line to the router.
    """

    def __init__(self, plan: dict[str, Any], write: Any) -> None:
        self._router = plan["router"]
        self._address = plan["address"]
        self._shards_plan = plan["shards"]
        self._write = write
        self._directory: Any = None
        self._version = 0
        self._head = ""
        self._is_durable = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, commands: asyncio.StreamReader) -> None:
        """Join the cluster and serve the router until it leaves."""
        try:
            self._head = connect(self._address)
            await self._join()
        except Exception as error:  # noqa: BLE001 -- Ray raises whatever it likes, and the router tells it in words
            self._write({"failed": f"{type(error).__name__}: {error}" if not str(error) else str(error)})
            return
        watching = asyncio.ensure_future(self._watch(commands))
        while line := await commands.readline():
            command = json.loads(line)
            if "leave" in command:
                watching.cancel()
                with contextlib.suppress(Exception):
                    await result(self._directory.leave.remote(self._router, bool(command["leave"])))
                return
            task = asyncio.ensure_future(self._execute(command))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # The router was killed.
        end_all()

    async def _execute(self, command: dict[str, Any]) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(ANSWER_SECONDS):
                if "grow" in command:
                    await result(self._directory.grow.remote(command["grow"]))
                else:
                    await result(self._directory.report.remote(command["report"]))
                    self._tell(await result(self._directory.watch.remote(self._router, 0, 0.0)))
        if "report" in command:
            self._write({"reported": command["report"]})

    async def _join(self) -> None:
        """Find the directory or start it, and take part."""
        import ray

        from .directory import DIRECTORY_NAME, Directory, own_version
        from .fleet import NAMESPACE

        end = time.monotonic() + JOIN_SECONDS
        while True:
            actor = ray.remote(Directory).options(
                name=DIRECTORY_NAME,
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=0,
                resources={"node:__internal_head__": 0.001},
                max_restarts=-1,
                max_concurrency=1000,
            )
            self._directory = await asyncio.to_thread(actor.remote)
            try:
                async with asyncio.timeout(JOIN_SECONDS):
                    state = await result(self._directory.join.remote(self._router, self._shards_plan, own_version()))
            except ray.exceptions.RayActorError:
                state = {"ending": True}
            if "error" in state:
                raise RuntimeError(state["error"])
            if not state.get("ending"):
                return self._tell(state)
            if time.monotonic() > end:
                raise RuntimeError("the directory of the cluster's shards does not start, or ends at once")
            await asyncio.sleep(0.5)

    async def _watch(self, commands: asyncio.StreamReader) -> None:
        """Tell the router the state, again and again; end this process when another one would find the cluster again."""
        answered = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(WATCH_SECONDS + ANSWER_SECONDS):
                    state = await result(self._directory.watch.remote(self._router, self._version, WATCH_SECONDS))
                if state["ending"]:
                    await self._join()
                else:
                    self._tell(state)
                answered = time.monotonic()
            except Exception as error:  # noqa: BLE001 -- as above
                has_restarted = await self._await_head()
                if has_restarted or (self._head and time.monotonic() - answered > REJOIN_SECONDS):
                    # What Ray has in this process may hang or be of the former head.
                    return commands.feed_eof()
                reason = reason_in(str(error)) or type(error).__name__
                self._write({"problem": f"the Ray cluster does not answer: {reason}"})
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await self._join()
                await asyncio.sleep(WATCH_SECONDS)

    async def _await_head(self) -> bool:
        """Return whether Ray's head had ended, when it is there again."""
        host, _, port = self._head.removeprefix(CLIENT).rpartition(":")
        had_ended = False
        while self._head != "" and await asyncio.to_thread(is_refused, host, port):
            had_ended = True
            words = f"the head of the Ray cluster at {self._head} has ended"
            words += ", and is awaited" if self._is_durable else ", and with it the cluster"
            self._write({"problem": words, "ended": not self._is_durable})
            await asyncio.sleep(WATCH_SECONDS)
        return had_ended

    def _tell(self, state: dict[str, Any]) -> None:
        self._version, self._is_durable = state["version"], state["durable"]
        self._write({"state": state})


def is_refused(host: str, port: str) -> bool:
    """Return whether nothing listens at an address of a machine that answers."""
    try:
        socket.create_connection((host.strip("[]"), int(port)), 1.0).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


async def serve(out: Any) -> None:
    """Serve the router at the other end of stdin and `out`."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)

    def write(message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            out.write(json.dumps(message).encode() + b"\n")
            out.flush()

    plan = json.loads(await commands.readline() or b"{}")
    if plan:
        await Driver(plan, write).run(commands)


def end_all() -> None:
    """End this process and a local Ray: Ray is in its process group, and Ray's workers end with Ray."""
    os.killpg(0, signal.SIGKILL)


def end_with(router: int) -> None:
    """End this process when the router's has ended, even while Ray blocks it."""
    while os.getppid() == router:
        time.sleep(ORPHAN_SECONDS)
    end_all()


def main() -> None:
    """Run the process. Whatever Ray prints goes to stderr."""
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.environ |= {name: os.environ.get(name, value) for name, value in QUIET.items()}
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.ERROR)
    try:
        asyncio.run(serve(out))
    finally:
        import ray

        ray.shutdown()
        out.close()


if __name__ == "__main__":
    main()
