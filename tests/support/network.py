"""`Network`: machines in network namespaces of their own, each at a cable that can be pulled; needs root and `ip`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import Self

import pytest

IP = shutil.which("ip") or shutil.which("ip", path="/usr/sbin")


def require() -> None:
    """Skip where no namespaces can be made."""
    probe = f"g{os.getpid()}probe"
    if IP is None or os.getuid() != 0 or subprocess.run([IP, "netns", "add", probe], check=False).returncode:
        pytest.skip("needs root, iproute2 and the right to make network namespaces")
    subprocess.run([IP, "netns", "del", probe], check=True)


class Network:
    """A bridge of this machine, and namespaces at it; `with Network(count) as network` takes them away at the end.

    Args:
        count: number of machines.

    Attributes:
        address: of this machine at the bridge.
        addresses: of the machines.
    """

    def __init__(self, count: int) -> None:
        number = os.getpid() % 250
        self._tag = f"g{os.getpid()}"
        self.address = f"10.77.{number}.254"
        self.addresses = [f"10.77.{number}.{machine + 1}" for machine in range(count)]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self._remove)
            self._ip("link", "add", self._tag, "type", "bridge")
            self._ip("addr", "add", f"{self.address}/24", "dev", self._tag)
            self._ip("link", "set", self._tag, "up")
            for machine, address in enumerate(self.addresses):
                name = self._name(machine)
                self._ip("netns", "add", name)
                self._ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
                self._ip("link", "set", name, "master", self._tag, "up")
                for arguments in (
                    ("link", "set", "lo", "up"),
                    ("addr", "add", f"{address}/24", "dev", "eth0"),
                    ("link", "set", "eth0", "up"),
                ):
                    self._ip("-n", name, *arguments)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def command(self, machine: int, *command: str) -> list[str]:
        """Return the command that runs `command` on a machine."""
        return [str(IP), "netns", "exec", self._name(machine), *command]

    def pull(self, machine: int) -> None:
        """Pull the cable of a machine: nothing is sent or received any more, and nobody is told."""
        self._ip("link", "set", self._name(machine), "nomaster")

    def pids(self, machine: int) -> list[str]:
        """Return the ids of the processes on a machine."""
        command = [str(IP), "netns", "pids", self._name(machine)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    def _name(self, machine: int) -> str:
        return f"{self._tag}n{machine}"

    def _remove(self) -> None:
        for machine in range(len(self.addresses)):
            subprocess.run([str(IP), "link", "del", self._name(machine)], check=False, stderr=subprocess.DEVNULL)
            subprocess.run([str(IP), "netns", "del", self._name(machine)], check=False, stderr=subprocess.DEVNULL)
        subprocess.run([str(IP), "link", "del", self._tag], check=False, stderr=subprocess.DEVNULL)

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run([str(IP), *arguments], check=True)
