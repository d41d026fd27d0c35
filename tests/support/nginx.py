"""Debian's nginx as a reverse proxy that serves a server under a path."""

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

CONFIGURATION = """
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
}}
"""


def require() -> None:
    """Skip where there is no nginx."""
    if NGINX is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("nginx is not installed")


@contextlib.contextmanager
def proxying(home: Path, url: str, prefix: str) -> Iterator[str]:
    """Serve what is at `url` under a prefix; yield where that is."""
    # nginx cannot tell which free port it has taken; this one it can take again at once.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configuration = home / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(home=home, port=port, url=url, prefix=prefix))
    user = ["-g", "user root;"] if os.getuid() == 0 else []
    command = [str(NGINX), "-p", str(home), "-e", f"{home}/error.log", "-c", str(configuration), *user]
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
