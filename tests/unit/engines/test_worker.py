"""The handle on an environment's process, with a process that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import Any

import pytest

from gym_http_server.config import Settings
from gym_http_server.engines.process.connections import Connections
from gym_http_server.engines.process.output import Output
from gym_http_server.engines.process.worker import ProcessWorker
from gym_http_server.errors import EnvironmentDiedError, UnknownEnvironmentError
from gym_http_server.runtime.frames import pack_error
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.shared.memory import Memory


class Forks:
    """A fork server that is asked for nothing."""

    def kill(self, pid: int) -> None:
        raise AssertionError(pid)


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_process_that_ends_because_its_environment_cannot_be_made_is_no_loss(
    is_answered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Its end may be known before the reason is read; an end without an answer is logged."""
    caplog.set_level(logging.INFO)

    async def make() -> None:
        ours, theirs = socket.socketpair()
        memory, descriptor = Memory.make()
        os.close(descriptor)
        output = Output("5f2b9c1e")
        os.close(output.theirs)
        parts: dict[str, Any] = {"connection": ours, "output": output, "memory": memory}
        worker = ProcessWorker(Forks(), "5f2b9c1e", 10.0, Settings(), **parts, connections=Connections(memory))  # type: ignore[arg-type]
        with theirs, contextlib.closing(output):
            making = asyncio.create_task(worker.make(CreateRequest("None-v0")))
            await asyncio.sleep(0)
            if is_answered:
                theirs.send(pack_error(UnknownEnvironmentError("there is no None-v0")))
                worker._channel.read()
            worker.on_exit(0)
            with pytest.raises(UnknownEnvironmentError if is_answered else EnvironmentDiedError):
                await making
            worker.abandon()

    asyncio.run(make())
    assert ["lost" in record.message for record in caplog.records] == ([] if is_answered else [True])
