"""`Options` of a run of the conformity kit, and the exit status where nothing can be checked."""

from __future__ import annotations

from dataclasses import dataclass

CANNOT_CHECK = 2


@dataclass(frozen=True, slots=True)
class Options:
    """What to check, and how.

    Attributes:
        url: where the implementation is.
        api_key: its key.
        groups: of the checks.
        examples: generated requests for each operation.
        seed: of what is random; None for one that is not known yet.
        with_uploads: whether evaluations may be written.
        timeout: seconds that an answer may take.
    """

    url: str
    api_key: str | None
    groups: tuple[str, ...]
    examples: int
    seed: int | None
    with_uploads: bool
    timeout: float
