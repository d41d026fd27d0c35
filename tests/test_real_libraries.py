"""Libraries of the field that take environments of Gymnasium take remote ones."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .serving import Server

MINARI = os.environ.get("MINARI", "")


@pytest.mark.skipif(not MINARI, reason="MINARI names no folder with Minari, which .ci/run installs")
def test_minari_records_a_data_set_and_makes_its_environment_again(tmp_path):
    """What was observed comes back from the data set, which holds no API key; the environment is made with the variable's."""
    variables = {**os.environ, "MINARI_DATASETS_PATH": str(tmp_path), "PYTHONPATH": MINARI}
    variables.pop("GYM_HTTP_SERVER_API_KEY", None)
    with Server("--api-key", "s3cret") as server:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.minari_session", server.url],
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
