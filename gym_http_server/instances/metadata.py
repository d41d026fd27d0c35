"""What people call an instance: a name and labels, by which they tell it apart; the server itself makes nothing of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_LABELS: Final = 64
LONGEST_KEY: Final = 100
"""How many labels an instance may have, and how many characters the name of one."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The name and the labels of one instance.

    Attributes:
        name: on one line; None where it has none.
        labels: texts by their names.
    """

    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def changed(self, changes: Mapping[str, Any]) -> Metadata:
        """Return what a JSON merge patch (RFC 7396) makes of it.

        Args:
            changes: may have `name`, a text or None, and `labels`, an object of texts and None or None itself; the contract
                has checked their types and lengths. Other members are ignored.

        Raises:
            InvalidValueError: a text is not one line of characters, a label's name is too long, or there are too many labels.
        """
        name, labels = changes.get("name", self.name), dict(self.labels)
        if "labels" in changes:
            labels = {} if changes["labels"] is None else {**labels, **changes["labels"]}
        made = Metadata(name, {key: value for key, value in labels.items() if value is not None})
        if name is not None:
            _check("name", name)
        for key, value in made.labels.items():
            if not 0 < len(key) <= LONGEST_KEY:
                raise InvalidValueError(
                    f"the name of a label is to have 1 to {LONGEST_KEY} characters", parameter="labels"
                )
            _check("the name of a label", key)
            _check(f"the label {key!r}", value)
        if len(made.labels) > MOST_LABELS:
            raise InvalidValueError(
                f"an instance has at most {MOST_LABELS} labels, and these would be {len(made.labels)}: "
                "take some away by setting them to null",
                parameter="labels",
            )
        return made


def _check(what: str, text: str) -> None:
    if not text.isprintable():
        # Pages, logs and JSON show it: line ends, control characters and halves of characters have no place there.
        raise InvalidValueError(f"{what} is to be one line of printable characters, and it is {ascii(text)[:200]}")
