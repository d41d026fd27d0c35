"""Reward thresholds: of the registered specification, and looked up outside of the server."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gym_http_server.results import threshold as threshold_module
from gym_http_server.results.threshold import Thresholds

MODULE = """
import pathlib, sys
print("noise on stdout")
pathlib.Path(__file__).with_name("imported").open("a").write("x")
import gymnasium
gymnasium.register("Custom-v1", "custom:Env", reward_threshold=7)
gymnasium.register("NoThreshold-v1", "custom:Env")
gymnasium.register("Odd-v1", "custom:Env", reward_threshold=float("nan"))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a module `custom` that registers environments."""
    (tmp_path / "custom.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("env_id", "library", "threshold"),
    [
        ("CartPole-v1", "gymnasium 1.4.0", 475.0),
        ("CartPole-v0", "gymnasium 1.4.0", 195.0),
        ("Acrobot-v1", "gymnasium 1.4.0", -100.0),
        ("Pendulum-v1", "gymnasium 1.4.0", None),
        ("CartPole-v0", "gym 0.26.2", 195.0),
        ("CartPole-v0", "gym 0.9.7", 195.0),
        ("FrozenLake-v0", "gym 0.9.7", None),
        ("CartPole", "gymnasium 1.4.0", None),
        ("CartPole", "gym 0.26.2", None),
        ("No-Such-v3", "gymnasium 1.4.0", None),
        ("No-Such-v3", "gym 0.26.2", None),
        ("os:CartPole-v1", "gymnasium 1.4.0", None),
        ("gym/CartPole-v1", "something 5", None),
        ("CartPole-v" + "9" * 5000, "gym 0.26.2", None),
    ],
)
def test_the_threshold_is_that_of_exactly_the_id(env_id: str, library: str, threshold: float | None) -> None:
    """A successor is another environment; what nothing registers has no threshold."""
    assert Thresholds().of(env_id, library) == threshold


def test_what_a_package_registers_is_asked_of_a_process(package: Path) -> None:
    """The server does not import it, its noise is not the answer, and each environment is asked about once."""
    thresholds = Thresholds(("custom",))
    for _ in range(3):
        assert thresholds.of("Custom-v1", "gymnasium 1.4.0") == 7.0
        assert thresholds.of("custom:Custom-v1", "gymnasium 1.4.0") == 7.0
        assert thresholds.of("NoThreshold-v1", "gymnasium 1.4.0") is None
        assert thresholds.of("Odd-v1", "gymnasium 1.4.0") is None
    assert (package / "imported").read_text() == "x" * 4
    assert "custom" not in sys.modules


def test_gymnasiums_own_need_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked up in its registry."""
    monkeypatch.setattr(subprocess, "Popen", None)
    assert Thresholds(("custom",)).of("CartPole-v1", "gymnasium 1.4.0") == 475.0
    assert Thresholds().of("No-Such-v3", "gymnasium 1.4.0") is None


@pytest.mark.parametrize(
    ("env_id", "library"),
    [("CartPole-v1", "gymnasium 1.4.0"), ("CartPole-v1", "something 5"), ("Acrobot-v1", "envpool 1.2.7")],
)
def test_what_only_has_the_id_of_another_environment_has_no_threshold(
    env_id: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment of `--env` in Gymnasium's place, and one of a library with ids of its own; gym's is what it was."""
    thresholds = Thresholds(("CartPole-v1=custom:make",))
    monkeypatch.setattr(Thresholds, "_find", lambda *_: 195.0)
    assert thresholds.of(env_id, library) is None
    assert thresholds.of("CartPole-v1", "gym 0.26.2") == 195.0


@pytest.mark.parametrize(
    "code",
    ["raise RuntimeError", "import os; os._exit(3)", "import absent_module", "import os; os.close(1); os.abort()"],
)
def test_a_process_that_fails_means_no_threshold(package: Path, caplog: pytest.LogCaptureFixture, code: str) -> None:
    """It is logged, and asked again the next time."""
    (package / "custom.py").write_text(code)
    thresholds = Thresholds(("custom",))
    assert thresholds.of("Custom-v1", "gymnasium 1.4.0") is None
    assert "threshold of 'Custom-v1' cannot be looked up" in caplog.text
    (package / "custom.py").write_text(MODULE)
    assert thresholds.of("Custom-v1", "gymnasium 1.4.0") == 7.0


def test_a_process_that_hangs_is_ended_with_all_that_it_started(package: Path) -> None:
    """An upload waits no longer than the time allowed."""
    sleeper = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
    (package / "custom.py").write_text(f"{sleeper}time.sleep(300)")
    begin = time.monotonic()
    assert Thresholds(("custom",), seconds=2.0).of("Custom-v1", "gymnasium 1.4.0") is None
    assert time.monotonic() - begin < 20
    left = [each for each in psutil.Process().children(recursive=True) if "time.sleep(300)" in " ".join(each.cmdline())]
    assert not left


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids come from recordings, and anybody may write those."""
    monkeypatch.setattr(threshold_module, "MAX_THRESHOLDS", 10)
    thresholds = Thresholds()
    for number in range(35):
        thresholds.of(f"Made-up-v{number}", "gymnasium 1.4.0")
    assert len(thresholds._known) <= 10
