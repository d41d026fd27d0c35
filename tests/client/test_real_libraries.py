"""Libraries of the field that take environments of Gymnasium take remote ones.

They lie in a folder of their own, for what they bring along is what other tests do without, or has other versions.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.serving import Server

LIBRARIES = os.environ.get("LIBRARIES", "")

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        not LIBRARIES, reason="LIBRARIES names no folder with Minari and MoviePy, which .ci/run installs"
    ),
]


def run(module: str, *arguments: str, **variables: str) -> None:
    environment = {**os.environ, "PYTHONPATH": LIBRARIES, **variables}
    environment.pop("GYM_HTTP_SERVER_API_KEY", None)
    command = [sys.executable, "-m", module, *arguments]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr


def test_minari_records_a_data_set_and_makes_its_environment_again(tmp_path: Path) -> None:
    """What was observed comes back from the data set, which holds no API key; the environment is made with the variable's."""
    with Server("--api-key", "s3cret") as server:
        run("tests.support.minari_session", server.url, MINARI_DATASETS_PATH=str(tmp_path))


def test_gymnasium_records_videos_of_a_batch(tmp_path: Path) -> None:
    """Gymnasium's RecordVideo of vector environments films a batch."""
    with Server() as server:
        run("tests.support.video_session", server.url, str(tmp_path / "videos"))
