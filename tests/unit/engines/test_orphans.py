"""What an ended environment started is ended, also where its parent is still ending."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from gym_http_server.engines.process import zygote
from gym_http_server.engines.process.process_tree import INSTANCE_VARIABLE, Traces, is_ending, is_starting_a_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the children of a process are not found")


@pytest.fixture
def ending() -> Iterator[int]:
    """A child that has ended, and whose status is not collected yet."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    yield child.pid
    child.wait()


def test_a_process_that_has_ended_is_ending_until_its_status_is_collected(ending):
    """Until then the kernel knows it, though it has no memory and no descriptors."""
    assert is_ending(ending)
    assert not is_ending(os.getpid())
    assert not is_ending(1 << 30)


def test_a_process_without_variables_is_not_starting_a_program():
    """A program may be given none, and is not looked at for ever."""
    with subprocess.Popen(["/bin/sleep", "3600"], env={}, start_new_session=True) as child:
        deadline = time.monotonic() + 20
        while is_starting_a_program(child.pid) and time.monotonic() < deadline:
            pass
        assert not is_starting_a_program(child.pid)
        child.kill()
    assert not is_starting_a_program(os.getpid())
    assert not is_starting_a_program(1 << 30)


def test_orphans_are_looked_for_until_nobody_is_ending(ending, monkeypatch):
    """A process that ends hands its children to the fork server last, when its own traces are gone."""
    children = [ending]
    monkeypatch.setattr(zygote, "children_of", lambda _: list(children))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = zygote.Zygote(ours, {})
        server._ended = {1 << 30: Traces(output=-1, instance_id="5f2b9c1e")}
        server._end_orphans()
        orphan = subprocess.Popen(["/bin/sleep", "3600"], env={INSTANCE_VARIABLE: "5f2b9c1e"}, start_new_session=True)
        children[:] = [orphan.pid]
        deadline = time.monotonic() + 20
        # It may be within `execve` still: then it is looked at again.
        while orphan.poll() is None and time.monotonic() < deadline:
            assert server._ended
            server._end_orphans()
        assert orphan.wait(0) == -signal.SIGKILL
        assert server._ended
        children.clear()
        server._end_orphans()
        assert not server._ended
        server._selector.close()
        os.close(server._wake_read)
        os.close(server._wake_write)
