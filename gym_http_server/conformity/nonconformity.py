"""`Nonconformity`: an implementation did something that the contract does not allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exchange import Sent

MAX_TEXT_CHARACTERS = 300


class Nonconformity(AssertionError):
    """An implementation did something that the contract does not allow.

    Args:
        expected: what the contract says.
        came: what the implementation did instead.
        sent: the request, with its answer where one came, where it was one request.
    """

    def __init__(self, expected: str, came: str, sent: Sent | None = None) -> None:
        super().__init__(expected, came)
        self.expected = expected
        self.came = came
        self.sent = sent

    def __str__(self) -> str:
        text = f"expected: {self.expected}\ncame:     {self.came}"
        return text if self.sent is None else f"{text}\n{self.sent}"


class NoAnswer(Nonconformity):
    """An implementation gave no answer: the connection failed, or it took too long."""


class NotServed(Exception):
    """The implementation does not serve what a check needs, and says so as the contract has it."""


def shown(value: object) -> str:
    """Return a value as one line that is not too long to read."""
    text = " ".join(str(value).split()) if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]}…"
