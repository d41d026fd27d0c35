"""Clients that the tool of their language builds, with what they ask of its registry, have a whole session."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ..support.serving import Server
from .clients import BUILDS, commands
from .making import make, program
from .plain import plain_session

pytestmark = pytest.mark.languages


@pytest.mark.timeout(660)
@pytest.mark.parametrize("language", BUILDS)
def test_a_session_with_a_client_built_as_it_asks_for(language: str, language_server: Server, tmp_path: Path) -> None:
    """Create, spaces, seeded reset, 200 steps, a batch, a frame, an error and close say what plain requests are told."""
    client = BUILDS[language]
    make(language, commands()[language], client, tmp_path)
    told = json.loads(program(client, tmp_path, language_server.url))
    shutil.rmtree(tmp_path / "target", ignore_errors=True)
    assert told == plain_session(language_server)
    with Image.open(tmp_path / "frame.png") as frame:
        assert (frame.format, frame.size) == ("PNG", (600, 400))
