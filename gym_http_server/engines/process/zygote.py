"""The fork server: a small process with the environment library loaded, from which every environment's process is forked.

Started with `python -m gym_http_server.engines.process.zygote FD LOAD`, where FD is its end of a stream socket to the server
and LOAD what to load: `{"module": "…", "imports": []}`. The server sends JSON lines, and with each `fork` three descriptors: the
environment's socket, its output pipe and the shared memory.

    {"prepare": {...}, "max_memory": 0}  → {"ready": true, "late": {"module": ["thread", …]}, "threads": []} or {"failed": "why"}
    {"fork": "5f2b9c1e"}                 → {"forked": "5f2b9c1e", "pid": 123, "threads": []} or {"forked": "5f2b9c1e", "error": "why"}
    the same with "guest": [{...}, "Pong-v5"]  (a host forks a guest for it in that interpreter: `runtime/guests/hosts.py`)
    {"kill": 123}                        → nothing
    whenever a process ends              ← {"exited": 123, "status": 9} (a wait status), with "memory": 734003200 if it was killed
                                           for that many bytes

A forked process has none of the fork server's threads. A module of --import that leaves some is `late`: the fork server starts
anew without it, by `exec`, and each environment's process imports it. `threads` are those that nothing can be done about.

Each environment's process leads its own session. It ends, with all its children, when the server asks for it, when it exits
by itself, and when the server's socket closes, which happens however the server ends. The fork server is a separate process
because forking the server would copy its threads' locks and its sockets; multiprocessing's fork server imports the caller's
`__main__` and outlives a killed caller.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ...support.foreign_threads import lasting_threads, other_threads
from .memory_watch import MemoryWatch
from .process_tree import (
    INSTANCE_VARIABLE,
    Traces,
    children_of,
    is_ending,
    is_starting_a_program,
    kill_tree,
    owner_of,
    tree_of,
)

if TYPE_CHECKING:
    from ...runtime.guests.hosts import GuestHosts

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
MAX_MESSAGE_BYTES = 1 << 16
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Zygote:
    """The loop of the fork server, on the stream socket to the server.

    Args:
        control: the socket.
        load: what to load, as named arguments of `_load`.
    """

    def __init__(self, control: socket.socket, load: dict[str, Any]) -> None:
        # The server's messages
        self._control = control
        self._received = b""
        self._descriptors: list[int] = []
        # What the processes run
        self._load = load
        self._loaded: _Loaded
        # The processes
        self._children: dict[int, Traces] = {}
        self._ended: dict[int, Traces] = {}
        """The ended environments that may have left orphans."""
        self._watch = MemoryWatch(0)
        self._exceeding: dict[int, int] = {}
        """Bytes of memory of the processes that are being killed for it."""
        # Waiting
        self._wake_read, self._wake_write = os.pipe()
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serve until the server's socket closes; then kill every process."""
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Ctrl-C and a service manager's signal reach the whole group; the server decides when to end.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._loaded = _load(**self._load)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        try:
            while True:
                for key, _ in self._selector.select(self._watch.pause if self._children else None):
                    if key.fileobj is self._control:
                        if not self._receive():
                            return
                    elif key.data is not None:
                        self._hosts.on_readable(key.data)
                        self._find_guests()
                    else:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake_read, 4096)
                        self._reap()
                self._end_exceeding()
        except BrokenPipeError:
            return
        finally:
            for pid in list(self._children):
                kill_tree(pid)
            for pid in children_of(os.getpid()):
                kill_tree(pid)

    def _receive(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 64, _CLOSE_ON_EXEC)
        except ConnectionResetError:
            return False
        self._descriptors += descriptors
        if not data:
            return False
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "fork" in message:
                given, self._descriptors = self._descriptors[:3], self._descriptors[3:]
                self._fork(message["fork"], message.get("guest"), *given)
            elif "kill" in message:
                if message["kill"] in self._children:
                    kill_tree(message["kill"])
            else:
                self._watch = MemoryWatch(message["max_memory"])
                failure = self._loaded.failure
                self._send({"failed": failure} if failure else self._prepare(message["prepare"]))
        return True

    def _prepare(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._loaded.entry.prepare(arguments)
        # Otherwise every process would write the buffered text again.
        sys.stdout.flush()
        # Forks share the present objects until something writes to them, as a collection would.
        gc.collect()
        gc.freeze()
        return {"ready": True, "late": self._loaded.late, "threads": self._loaded.threads}

    def _send(self, message: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")

    @functools.cached_property
    def _hosts(self) -> GuestHosts:
        from ...runtime.guests.hosts import GuestHosts

        return GuestHosts(self._selector, kill_tree)

    def _fork(
        self, instance_id: str, wanted: tuple[dict[str, Any], str] | None, connection: int, output: int, memory: int
    ) -> None:
        guest = None if wanted is None else self._hosts.connect(*wanted, _trace(instance_id), output)
        try:
            pid = os.fork()
        except OSError as error:
            self._send({"forked": instance_id, "error": str(error)})
        else:
            if pid == 0:
                self._become_environment(instance_id, guest, connection, output, memory)
            self._children[pid] = Traces(os.fstat(output).st_ino, instance_id)
            self._ended.pop(pid, None)
            self._send({"forked": instance_id, "pid": pid, "threads": other_threads()})
        finally:
            for descriptor in (connection, output, memory):
                os.close(descriptor)
            if guest is not None:
                guest[0].close()
                os.close(guest[1])

    def _become_environment(
        self, instance_id: str, guest: tuple[socket.socket, int] | None, connection: int, output: int, memory: int
    ) -> NoReturn:
        """Run the entry in this forked process, and exit."""
        status = 1
        try:
            os.setsid()
            with contextlib.suppress(OSError):
                # If memory runs out, the kernel kills an environment and not the server.
                Path("/proc/self/oom_score_adj").write_text("1000")
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            # Descriptors that imported modules opened stay open, because their code may use them here.
            hosts = self._hosts.descriptors if "_hosts" in vars(self) else ()
            for descriptor in (self._wake_read, self._wake_write, *self._descriptors, *hosts):
                os.close(descriptor)
            self._control.close()
            self._selector.close()
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(nothing)
            os.close(output)
            os.environ[INSTANCE_VARIABLE] = instance_id
            faulthandler.enable()
            _reseed()
            from ...runtime.guests.making import inherit
            from ...runtime.making.library import declare_imports
            from ...runtime.shared.memory import Memory

            inherit(guest)
            shared = Memory.open(memory)
            os.close(memory)
            with socket.socket(fileno=connection) as channel:
                channel.setblocking(True)
                declare_imports(self._loaded.late)
                self._loaded.entry.serve(channel, shared, instance_id)
            status = 0
        except BaseException:  # noqa: BLE001 -- the process ends here; the server reads its output
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # After the exit, a child without any of the traces could not be found.
            for pid in tree_of(os.getpid())[1:]:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            os._exit(status)

    def _reap(self) -> None:
        ended: dict[int, tuple[int, Traces]] = {}
        with contextlib.suppress(ChildProcessError):
            while (waited := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                pid, status = waited
                if "_hosts" in vars(self):
                    self._hosts.on_exit(pid, status)
                if pid in self._children:
                    ended[pid] = status, self._children.pop(pid)
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(pid, signal.SIGKILL)
        self._ended |= {pid: its for pid, (_, its) in ended.items()}
        if self._ended:
            self._end_orphans()
        for pid, (status, its) in ended.items():
            if "_hosts" in vars(self):
                self._hosts.on_end(_trace(its.instance_id))
            taken = self._exceeding.pop(pid, None)
            self._send({"exited": pid, "status": status, **({} if taken is None else {"memory": taken})})

    def _find_guests(self) -> None:
        """Find the guests that hosts have forked, which are orphans and so children of this process."""
        hosts = self._hosts.pids
        for orphan in children_of(os.getpid()):
            if orphan in self._children or orphan in hosts or self._hosts.is_adopted(orphan):
                continue
            owner = owner_of(orphan, self._children)
            if owner is not None:
                self._hosts.adopt(orphan, _trace(self._children[owner].instance_id))

    def _end_orphans(self) -> None:
        """Kill what the ended environments started: their children are orphans now, and so children of this process.

        Whoever is ending has no traces any more, and its own children come here later; whoever starts a program has none yet.
        Both are looked at again.
        """
        hosts = self._hosts.pids if "_hosts" in vars(self) else ()
        is_complete = True
        # Of 1,000, a list takes a millisecond.
        for orphan in children_of(os.getpid()):
            if orphan in self._children or orphan in hosts:
                continue
            if owner_of(orphan, self._ended) is not None:
                kill_tree(orphan)
                is_complete = False
            elif is_ending(orphan) or is_starting_a_program(orphan):
                is_complete = False
        if is_complete:
            self._ended.clear()

    def _end_exceeding(self) -> None:
        for pid, taken in self._watch.exceeding(self._children).items():
            self._exceeding.setdefault(pid, taken)
            kill_tree(pid)


def _trace(instance_id: str) -> str:
    return f"{INSTANCE_VARIABLE}={instance_id}"


class _Loaded(NamedTuple):
    """What `_load` loaded.

    Attributes:
        entry: the module that the processes run.
        late: the modules of --import that each process imports, with the threads that they would leave here.
        threads: names of the threads that others left.
        failure: why a module of --import could not be imported; empty if all could.
    """

    entry: Any
    late: dict[str, list[str]]
    threads: list[str]
    failure: str = ""


def _load(module: str, imports: list[str], late: dict[str, list[str]] | None = None) -> _Loaded:
    """Load what every environment needs, so that forks share it, and the modules of --import.

    If some leave threads, replace this program by one that imports those late: there is no other way to be rid of threads.

    Args:
        module: the module of the entry.
        imports: the modules of --import.
        late: those that are not imported here, with their threads.
    """
    variables = dict(os.environ)
    import numpy as np  # noqa: F401 -- before the package's modules, which would defer it

    from ...errors import ImportFailedError
    from ...runtime.child import rehearse
    from ...runtime.making import opengl
    from ...runtime.making.library import declare_imports

    opengl.choose()
    late = late or {}
    entry = importlib.import_module(module)
    rehearse()
    threads = lasting_threads()
    found: dict[str, list[str]] = {}
    for name in imports:
        if name in late:
            continue
        before = len(threads)
        try:
            declare_imports((name,))
        except ImportFailedError as error:
            if not late:
                return _Loaded(entry, late, threads, error.detail)
            # It could be imported behind the late ones, so it needs one of them.
            found[name] = []
        threads = lasting_threads()
        if len(threads) > before:
            found[name] = threads
    if found:
        for pid in tree_of(os.getpid())[1:]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        given = {
            "module": module,
            "imports": imports,
            "late": {name: {**late, **found}[name] for name in imports if name in late or name in found},
        }
        sys.stdout.flush()
        os.execve(sys.executable, [*sys.orig_argv[:-1], json.dumps(given)], variables)  # noqa: S606 -- this program
    return _Loaded(entry, late, threads)


def _reseed() -> None:
    """Give this process its own global random state; otherwise all forks would draw the same numbers."""
    import numpy as np

    np.random.seed(int.from_bytes(os.urandom(4), "little"))


def _prctl(option: int, value: int) -> None:
    """Set an attribute of this process (prctl(2)); does nothing except on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def main() -> None:
    """Run the fork server on the descriptor named on the command line."""
    # Imported modules may print: the server logs that in order with what goes to stderr.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a TextIOWrapper in every real process
    with socket.socket(fileno=int(sys.argv[1])) as control:
        Zygote(control, json.loads(sys.argv[2])).run()


if __name__ == "__main__":
    main()
