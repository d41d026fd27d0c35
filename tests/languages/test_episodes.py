"""Clients of further languages, as they come out of their generators, play whole episodes and read an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..support.serving import Server
from .clients import EPISODES, commands
from .making import make, program
from .plain import plain_episodes

pytestmark = pytest.mark.languages


@pytest.mark.parametrize("language", EPISODES)
def test_a_generated_client_plays_episodes_and_reads_an_error(
    language: str, language_server: Server, tmp_path: Path
) -> None:
    """It prints the steps, returns and last observations of two seeded episodes, and a problem, as plain HTTP has them."""
    client = EPISODES[language]
    make(language, commands()[language], client, tmp_path)
    assert json.loads(program(client, tmp_path, language_server.url)) == plain_episodes(language_server)
