"""The code blocks of the manual's page about clusters."""

from __future__ import annotations

from ..manual.commands import fences
from ..support.serving import ROOT

PAGE = ROOT / "gym_http_server/console/manual/cluster.md"


def blocks(language: str) -> list[str]:
    """Return the blocks of a language."""
    return [fence.code for fence in fences(PAGE) if fence.language == language]


def block(language: str) -> str:
    """Return the one block of a language."""
    [code] = blocks(language)
    return code
