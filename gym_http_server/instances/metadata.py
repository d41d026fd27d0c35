"""What people are told of an instance, without a meaning for the server: its name, its labels, how it was made, and where it records."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from ..errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LABELS: Final = 64
MAX_LABEL_NAME_CHARS: Final = 100


@dataclass(frozen=True, slots=True)
class Metadata:
    """The name and labels of one instance, how it was made, and where it records.

    Attributes:
        name: one line; None if it has none.
        labels: text of each label, by name.
        origin: the arguments of createEnv that made it, for whoever wants another one.
        recording: the directory of its latest monitor; None if there has been none.
    """

    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    recording: str | None = None

    def changed(self, changes: Mapping[str, Any]) -> Metadata:
        """Return it with the `name` and `labels` of a JSON merge patch (RFC 7396), whose types the contract has checked.

        Raises:
            InvalidValueError: a text is not one printable line, the name of a label is too long, or there are too many labels.
        """
        name, labels = changes.get("name", self.name), dict(self.labels)
        if "labels" in changes:
            labels = {} if changes["labels"] is None else {**labels, **changes["labels"]}
        kept = {key: value for key, value in labels.items() if value is not None}
        changed = replace(self, name=name, labels=kept)
        if name is not None:
            _check("name", name)
        for key, value in changed.labels.items():
            if not 0 < len(key) <= MAX_LABEL_NAME_CHARS:
                raise InvalidValueError(
                    f"the name of a label is to have 1 to {MAX_LABEL_NAME_CHARS} characters", parameter="labels"
                )
            _check("the name of a label", key)
            _check(f"the label {key!r}", value)
        if len(changed.labels) > MAX_LABELS:
            raise InvalidValueError(
                f"an instance has at most {MAX_LABELS} labels, and these would be {len(changed.labels)}: "
                "take some away by setting them to null",
                parameter="labels",
            )
        return changed


def _check(what: str, text: str) -> None:
    if not text.isprintable():
        # It is shown on pages, in logs and in JSON: no line ends, control characters or lone surrogates.
        raise InvalidValueError(f"{what} is to be one line of printable characters, and it is {ascii(text)[:200]}")
