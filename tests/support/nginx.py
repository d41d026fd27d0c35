"""Debian's nginx, in the foreground on a free port; and as a reverse proxy that serves a server under a path."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .serving import SECONDS, eventually

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

FRAME = """
worker_processes 1;
daemon off;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  {configuration}
}}
"""

PREFIX = """
  server {{
    listen 127.0.0.1:{port};
    location {prefix}/ {{
      proxy_pass {url}/;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Prefix {prefix};
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $http_connection;
    }}
  }}
"""


def free_port() -> int:
    """Return a free port: a proxy cannot tell which one it has taken, and this one it can take again at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def command_for(home: Path, configuration: str) -> list[str]:
    """Return the command that runs nginx with a configuration of `http`, whose files are in a directory."""
    file = home / "nginx.conf"
    file.write_text(FRAME.format(home=home, configuration=configuration))
    user = ["-g", "user root;"] if os.getuid() == 0 else []
    return [str(NGINX), "-p", str(home), "-e", f"{home}/error.log", "-c", str(file), *user]


def require() -> None:
    """Skip where there is no nginx."""
    if NGINX is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("nginx is not installed")


@contextlib.contextmanager
def proxying(home: Path, url: str, prefix: str) -> Iterator[str]:
    """Serve what is at `url` under a prefix; yield where that is."""
    port = free_port()
    command = command_for(home, PREFIX.format(port=port, url=url, prefix=prefix))
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: process.poll() is not None or _listens(port), SECONDS)
        assert process.poll() is None, (home / "error.log").read_text()
        yield f"http://127.0.0.1:{port}{prefix}"
    finally:
        process.terminate()
        process.wait(SECONDS)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def address(url: str) -> tuple[str, int]:
    """Return host and port of a URL."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port
