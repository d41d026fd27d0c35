"""What a tool gives: text for the model, the same as structured content, and the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_STRUCTURED_ITEMS: Final = 1_000
"""Most numbers and texts of an observation in structured content, which clients give to the model."""

PNG: Final = "image/png"


@dataclass(frozen=True, slots=True)
class Frame:
    """A rendered frame: an image, or a text where the render mode is `ansi`."""

    image: bytes = b""
    text: str = ""

    @classmethod
    def of(cls, body: bytes) -> Frame:
        """Return the frame in a reply of renderEnv that was asked for as PNG."""
        return cls(image=body) if body.startswith(b"\x89PNG") else cls(text=body.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a tool.

    Attributes:
        text: what happened, in words.
        structured: the same as the tool's output schema describes it; None for an error.
        frame: the frame; None where none was asked for.
        is_error: whether the tool failed.
    """

    text: str
    structured: Mapping[str, Any] | None = None
    frame: Frame | None = None
    is_error: bool = False


def kept(observation: Any) -> Any:
    """Return an observation for structured content; None for one of more than `MAX_STRUCTURED_ITEMS` values."""
    return observation if _fits(observation) else None


def _fits(value: Any) -> bool:
    left, values = MAX_STRUCTURED_ITEMS, [value]
    while values:
        part = values.pop()
        if isinstance(part, dict):
            values.extend(part.values())
        elif isinstance(part, list):
            values.extend(part[: left + 1])
        else:
            left -= 1
        if left < 0 or len(values) > 2 * MAX_STRUCTURED_ITEMS:
            return False
    return True
