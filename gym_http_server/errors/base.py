"""`GymHttpServerError`: the base of the tree of errors, and its form between processes."""

from __future__ import annotations

from typing import Any, Final

MAX_DETAIL_CHARS: Final = 2000
"""Maximum characters of an error's text: libraries quote refused values, which may be megabytes."""


def shortened(text: str) -> str:
    """Return a text, or only its beginning and end if it is too long."""
    if len(text) <= MAX_DETAIL_CHARS:
        return text
    half = MAX_DETAIL_CHARS * 2 // 5
    return f"{text[:half]} … ({len(text)} characters in all) … {text[-half:]}"


class GymHttpServerError(Exception):
    """Base of every error raised on purpose.

    Args:
        detail: what was wrong, what was expected, and a remedy.
        facts: further members of the problem details; plain JSON values.
    """

    def __init__(self, detail: str, **facts: Any) -> None:
        detail = shortened(detail)
        super().__init__(detail)
        self.detail = detail
        self.facts = {name: shortened(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}

    def to_wire(self) -> dict[str, Any]:
        """Return plain values, in which an environment's process sends an error to the server."""
        return {"error": type(self).__name__, "detail": self.detail, "facts": self.facts}

    @staticmethod
    def from_wire(message: dict[str, Any]) -> GymHttpServerError:
        """Rebuild an error from `to_wire`; an unknown name becomes `EnvironmentRaisedError`."""
        classes = {cls.__name__: cls for cls in every_error()}
        cls = classes.get(str(message.get("error")), classes["EnvironmentRaisedError"])
        error = cls(str(message.get("detail")))
        facts = message.get("facts")
        error.facts = facts if isinstance(facts, dict) else {}
        return error


def every_error() -> list[type[GymHttpServerError]]:
    """Return all classes of this tree, the base first."""
    found: list[type[GymHttpServerError]] = [GymHttpServerError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return found
