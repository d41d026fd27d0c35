"""What an environment prints: logged within a budget of lines and bytes a second, the rest counted."""

from __future__ import annotations

import asyncio
import logging
import os
import time

import pytest

from gym_http_server.engines.process import output
from gym_http_server.engines.process.output import Output
from tests.conftest import start
from tests.support.handing import TROUBLE
from tests.support.serving import eventually


@pytest.fixture(autouse=True)
def _own_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a whole budget of all processes."""
    monkeypatch.setattr(Output, "_all_lines", output.Budget(output.MAX_TOTAL_LINES_PER_SECOND))


def logged(caplog: pytest.LogCaptureFixture, *pieces: bytes) -> tuple[list[str], list[str]]:
    """Have a process write pieces; return what is logged of them, and the last lines that are kept."""

    async def read() -> list[str]:
        instance = Output("5f2b9c1e")
        os.set_blocking(instance.theirs, True)
        try:
            for piece in pieces:
                os.write(instance.theirs, piece)
                instance.drain()
        finally:
            os.close(instance.theirs)
        instance.drain()
        instance.finish()
        return instance.lines

    with caplog.at_level(logging.INFO, "gym_http_server.environment"):
        kept = asyncio.run(read())
    return [record.getMessage().removeprefix("5f2b9c1e: ") for record in caplog.records], kept


def test_what_is_within_the_budget_is_logged_line_by_line(caplog: pytest.LogCaptureFixture) -> None:
    """Lines that come in pieces are put together, empty ones left out, and the last needs no end."""
    lines, kept = logged(caplog, b"one\ntw", b"o\n\n \nthree")
    assert lines == ["one", "two", "three"]
    assert kept == lines


def test_lines_over_the_budget_are_counted_in_one(caplog: pytest.LogCaptureFixture) -> None:
    """What is logged and what is counted makes all of it, and the last lines are known all the same."""
    pieces = [b"".join(b"%d\n" % (each + 1000 * piece) for each in range(1000)) for piece in range(5)]
    lines, kept = logged(caplog, *pieces)
    assert lines[: output.MAX_LINES_PER_SECOND] == [str(each) for each in range(output.MAX_LINES_PER_SECOND)]
    *shown, told = lines
    assert len(shown) < output.MAX_LINES_PER_SECOND * 2
    size = sum(map(len, pieces)) - sum(len(each) + 1 for each in shown)
    assert told.startswith(f"{5000 - len(shown)} lines more, {size} bytes, are not logged")
    assert kept == [str(each) for each in range(4980, 5000)]


def test_bytes_over_the_budget_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Each line is logged whole or counted whole."""
    line = b"x" * 999 + b"\n"
    lines, _ = logged(caplog, *[line * 50] * 5)
    *shown, told = lines
    assert set(shown) == {"x" * 999}
    assert len(shown) <= 2 * output.MAX_BYTES_PER_SECOND // 1000
    assert told.startswith(f"{250 - len(shown)} lines more, {(250 - len(shown)) * 1000} bytes")


def test_a_line_without_end_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """However long it is, no more than its end is held in memory."""
    lines, kept = logged(caplog, *[b"y" * 60000] * 20, b"\nnext\n")
    assert lines == ["y" * output.MAX_LINE_BYTES, "next"]
    assert kept[-1] == "next"


def test_what_would_steer_a_terminal_is_written_out(caplog: pytest.LogCaptureFixture) -> None:
    """Colours are left out, of a progress bar its last state stays, and no text ends the line or hides it."""
    lines, _ = logged(caplog, b"\x1b[33mWARN\x1b[0m: mind\n 1%\r 50%\r100%\r\n\x1b[2Jgone\x00\x85\xff\n")
    assert lines == ["WARN: mind", "100%", "\\x1b[2Jgone\\x00\ufffd\ufffd"]


def test_what_a_second_has_left_over_is_told_meanwhile() -> None:
    """The server's log counts what an environment prints too much while that goes on, and its steps are answered."""
    with start("process") as server:
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        began = time.monotonic()
        assert server.post(f"{env}/step/", {"action": "print 20000"}).status == 200
        told = eventually(lambda: [line for line in server.stderr if "are not logged" in line])
        assert f"{env[-8:]}: " in told[0]
        seconds = int(time.monotonic() - began) + 1
        assert sum("line 1" in line for line in server.stderr) <= output.MAX_LINES_PER_SECOND * seconds
        assert server.post(f"{env}/step/", {"action": "exit 3"}).json["stderr"][-1] == "last words of the environment"
