"""`GuestHosts`: processes that import the modules of an interpreter once, and are forked for each guest.

The fork server owns them, because they outlive the environments. Each forks a guest twice, so that it becomes a child of the fork
server, which counts its memory and ends it with its environment, by the output pipe that it writes to. A host that dies is
started again for the next environment. One that hangs is ended with the first environment that waits for it in vain. An
environment whose socket a host closes starts a guest of its own.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from ..messages import Interpreter
from .guest import FORKED, MARKER, READY
from .spawning import spawn
from .wire import FORK, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ_SIZE: Final = 1 << 16
STATUS: Final = struct.Struct("i")
"""How a guest ended, as a wait status."""


class GuestHost:
    """One host.

    Args:
        interpreter: the interpreter whose modules it imports.

    Attributes:
        pid: its process, which leads a session.
        socket: the socket to it.
        is_forkable: it has not said that it cannot be forked, because its modules left threads.
        waiting: the instance's variable, environment's id, and descriptors that are not sent yet, of each guest that is not forked yet.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        process, self.socket = spawn(interpreter, leads_session=True)
        self.pid = process.pid
        # The fork server collects the status of all its children.
        process.returncode = 0
        self.socket.setblocking(False)
        self.is_forkable = True
        self._interpreter = interpreter
        self._received: bytes | None = b""
        """What came before the marker; None from then on."""
        self._is_ready = False
        self.waiting: list[tuple[str, str, list[int]]] = []

    def ask(self, trace: str, env_id: str, connection: socket.socket, output: int) -> None:
        """Have a guest forked that serves on a socket and writes to a pipe; the code of an environment is imported before."""
        self.waiting.append((trace, env_id, [os.dup(connection.fileno()), os.dup(output)]))
        if self._is_ready:
            self._send()

    def waits_for(self, trace: str) -> bool:
        """Return whether the guest of an instance is not forked yet."""
        return any(waiting == trace for waiting, _, _ in self.waiting)

    def read(self) -> bool:
        """Take what it says; return whether it lives."""
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if self._received is not None:
            self._received += data
            if self._received.endswith(MARKER):
                self._received = None
                return self._try(lambda: self.socket.send(frame(FORK, 0, self._interpreter.imports)))
            return bool(data) and len(self._received) <= READ_SIZE
        if not self._is_ready:
            self._is_ready = data == READY
            return self._is_ready and self._send()
        for answer in data:
            if not self.waiting or answer != FORKED[0]:
                self.is_forkable = False
                return False
            self.waiting.pop(0)
        return bool(data)

    def end(self) -> None:
        """Close its socket, at which it ends; the environments that wait for it start guests of their own."""
        self.socket.close()
        for _, _, descriptors in self.waiting:
            for descriptor in descriptors:
                os.close(descriptor)
        self.waiting.clear()

    def _send(self) -> bool:
        for trace, env_id, descriptors in self.waiting:
            if descriptors:
                data = f"{trace} {env_id}".encode("utf-8", "replace")
                if not self._try(lambda data=data, given=descriptors: socket.send_fds(self.socket, [data], given)):
                    return False
                while descriptors:
                    os.close(descriptors.pop())
        return True

    def _try(self, send: Any) -> bool:
        try:
            send()
        except OSError:
            return False  # also where its buffer is full: it hangs
        return True


class GuestHosts:
    """The hosts of a fork server, by interpreter.

    Args:
        selector: where the fork server waits for their sockets.
        kill: kills a process with its children.
    """

    def __init__(self, selector: selectors.BaseSelector, kill: Callable[[int], None]) -> None:
        self._selector = selector
        self._kill = kill
        self._hosts: dict[Interpreter, GuestHost] = {}
        self._unforkable: set[Interpreter] = set()
        # By the trace of the instance, and by the process of the guest.
        self._reports: dict[str, int] = {}
        self._guests: dict[int, str] = {}

    def connect(self, wire: dict[str, Any], env_id: str, trace: str, output: int) -> tuple[socket.socket, int] | None:
        """Return the socket to a guest that a host forks, and a pipe that will tell how it ended; None if there can be none.

        Args:
            wire: the interpreter.
            env_id: the id of the environment.
            trace: `NAME=value`, the variable that marks the processes of the instance.
            output: its output pipe.
        """
        interpreter = Interpreter.from_wire(wire)
        if interpreter in self._unforkable:
            return None
        host = self._hosts.get(interpreter)
        with contextlib.ExitStack() as on_error, contextlib.suppress(OSError):
            if host is None:
                host = self._hosts[interpreter] = GuestHost(interpreter)
                self._selector.register(host.socket, selectors.EVENT_READ, (interpreter, host))
            report, told = os.pipe()
            on_error.callback(os.close, report)
            on_error.callback(os.close, told)
            ours, theirs = socket.socketpair()
            on_error.callback(ours.close)
            with theirs:
                host.ask(trace, env_id, theirs, output)
            on_error.pop_all()
            self._reports[trace] = told
            return ours, report
        return None

    def adopt(self, pid: int, trace: str) -> None:
        """Take note of the guest of an instance, which a host has forked."""
        self._guests[pid] = trace

    def is_adopted(self, pid: int) -> bool:
        """Return whether a process is a guest that was taken note of."""
        return pid in self._guests

    def on_exit(self, pid: int, status: int) -> None:
        """Tell the instance whose guest a process was how it ended, a wait status."""
        report = self._reports.get(self._guests.pop(pid, ""))
        if report is not None:
            with contextlib.suppress(OSError):
                os.write(report, STATUS.pack(status))

    def on_readable(self, key: tuple[Interpreter, GuestHost]) -> None:
        """Take what a host says."""
        interpreter, host = key
        if self._hosts.get(interpreter) is host and not host.read():
            self._remove(interpreter)

    def on_end(self, trace: str) -> None:
        """End the host that the environment of an instance waited for until it ended; its guest is told of no more."""
        self._end_report(trace)
        for interpreter, host in list(self._hosts.items()):
            if host.waits_for(trace):
                self._remove(interpreter)

    @property
    def pids(self) -> set[int]:
        """Their processes."""
        return {host.pid for host in self._hosts.values()}

    @property
    def descriptors(self) -> Iterator[int]:
        """What is open here for them, and may be in no environment: a socket there would hide the end of a guest."""
        for host in self._hosts.values():
            yield host.socket.fileno()
            for _, _, descriptors in host.waiting:
                yield from descriptors
        yield from self._reports.values()

    def _remove(self, interpreter: Interpreter) -> None:
        host = self._hosts.pop(interpreter)
        self._selector.unregister(host.socket)
        if not host.is_forkable:
            self._unforkable.add(interpreter)
        for trace, _, _ in host.waiting:
            self._end_report(trace)
        host.end()
        self._kill(host.pid)

    def _end_report(self, trace: str) -> None:
        report = self._reports.pop(trace, None)
        if report is not None:
            os.close(report)
