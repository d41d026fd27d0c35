"""Chromium, headless: what a page looks like to a browser, and what its scripts can do."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import flask
import pytest
from werkzeug.serving import make_server

SECONDS = 60
CHROMIUM = shutil.which("chromium")


@pytest.fixture
def _chromium() -> None:
    """Skip where there is no Chromium."""
    if CHROMIUM is None:
        # Where CI installs it, its absence is a mistake of ours.
        (pytest.fail if os.environ.get("CI") else pytest.skip)("chromium is not installed")


def command(home: Path, *arguments: str) -> list[str]:
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr")
    return [str(CHROMIUM), *flags, f"--user-data-dir={home}/profile", *arguments]


def dump(home: Path, url: str, *arguments: str) -> tuple[str, list[str]]:
    """Return the DOM of a page as Chromium sees it, and the lines that it wrote to its console."""
    done = subprocess.run(
        command(home, *arguments, "--dump-dom", url), capture_output=True, text=True, timeout=SECONDS, check=True
    )
    return done.stdout, console_lines(done.stderr)


@contextlib.contextmanager
def opened(home: Path, url: str, *arguments: str) -> Iterator[Path]:
    """Have a page open; yield the browser's log."""
    log = home / "log"
    with log.open("wb") as stderr:
        browser = subprocess.Popen(
            command(home, *arguments, "--remote-debugging-port=0", url),
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            yield log
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()


def console_lines(log: str) -> list[str]:
    return [line for line in log.splitlines() if ":CONSOLE" in line]


@contextlib.contextmanager
def serving(app: flask.Flask) -> Iterator[str]:
    """Serve `app` on a free port; gives its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join(SECONDS)
        server.server_close()
