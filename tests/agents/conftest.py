"""An application whose operations are executed in the tests' own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gym_http_server.app import Application
from gym_http_server.config import Settings


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Application]:
    """A running application with the inline engine, at most four instances and a troublemaker."""
    imports = ("tests.support.troublemakers",)
    settings = Settings(engine="inline", max_envs=4, imports=imports, results_root=(str(tmp_path),))
    application = Application(settings)
    await application.start()
    yield application
    await application.stop()
