"""`Verification`: whether a replay gives the scores of an evaluation, and `Verifications`, which keeps them in the target.

A verification lies beside its evaluation in a file of its own, `verification.<id>.json`, which never changes: another one is
another file, and the newest counts.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ..errors import UploadTargetError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .evaluation import Evaluation
    from .target import Target

logger = logging.getLogger(__name__)

WAITING, RUNNING = "waiting", "running"
VERIFIED, DIFFERENT, IMPOSSIBLE = "verified", "different", "impossible"
VERDICTS: Final = (VERIFIED, DIFFERENT, IMPOSSIBLE)
SCORES: Final = ("episodes", "total_steps", "mean_return", "best_mean_return")
"""The members of an evaluation that a verification is about; of an evaluation with others it says nothing."""

_MAX_TEXT_CHARACTERS: Final = 2000
_MAX_LIBRARIES: Final = 100
_MAX_STAMP: Final = 10**20 - 1
"""Year to microsecond in 20 digits."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of the replay of an evaluation's trajectories.

    Attributes:
        state: `waiting`, `running`, or one of `VERDICTS`.
        done: number of episodes replayed.
        total: number of episodes.
        reason: what differs, or why it is impossible.
        episode: number of the episode that differs, in the recording.
        step: the step that differs, from 1; 0 for the reset.
        server_version: version of the server that replayed.
        libraries: versions of Python, libraries and packages there.
        verified_at: when it was over, in UTC.
        scores: the scores that it is about.
    """

    state: str
    done: int = 0
    total: int = 0
    reason: str | None = None
    episode: int | None = None
    step: int | None = None
    server_version: str | None = None
    libraries: dict[str, str] = field(default_factory=dict)
    verified_at: datetime | None = None
    scores: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the contract's `Verification` as plain JSON values."""
        members = {name: value for name, value in asdict(self).items() if value is not None and name != "scores"}
        if self.verified_at is not None:
            members["verified_at"] = self.verified_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {**members, "libraries": self.libraries}

    @classmethod
    def from_json(cls, value: Any) -> Verification:
        """Rebuild a verdict from a file's value.

        Raises:
            ValueError: it is none.
        """
        if not isinstance(value, dict) or value.get("state") not in VERDICTS:
            raise ValueError("it is no verdict")
        numbers = {name: value.get(name) for name in ("done", "total", "episode", "step")}
        texts = {name: value.get(name) for name in ("reason", "server_version")}
        libraries, scores = value.get("libraries"), value.get("scores")
        if any(type(number) is not int for number in numbers.values() if number is not None):
            raise ValueError("it counts with something else than integers")
        if not all(isinstance(text, str | None) and len(text or "") <= _MAX_TEXT_CHARACTERS for text in texts.values()):
            raise ValueError("its texts are none")
        if not isinstance(libraries, dict) or not isinstance(scores, dict) or len(libraries) > _MAX_LIBRARIES:
            raise ValueError("it has no libraries or scores")
        if not all(isinstance(text, str) and len(text) <= 100 for pair in libraries.items() for text in pair):
            raise ValueError("its libraries have no versions")
        verified_at = datetime.fromisoformat(str(value.get("verified_at")))
        if verified_at.tzinfo is None:
            raise ValueError("verified_at has no time zone")
        members: dict[str, Any] = {**numbers, "done": numbers["done"] or 0, "total": numbers["total"] or 0, **texts}
        return cls(value["state"], **members, libraries=libraries, scores=scores, verified_at=verified_at)


def scores_of(evaluation: Evaluation) -> dict[str, Any]:
    """Return the scores that a verification is about."""
    return {name: getattr(evaluation, name) for name in SCORES}


class Verifications:
    """The verifications in a target, each read once. Thread-safe.

    Args:
        target: the target.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._names: dict[str, str] = {}
        self._known: dict[str, Verification | None] = {}
        self._lock = threading.Lock()

    def note(self, paths: Iterable[str]) -> None:
        """Take the paths of all verifications that are in the target."""
        newest: dict[str, str] = {}
        for path in sorted(paths):
            newest[path.rpartition("/")[0]] = path
        with self._lock:
            self._names = newest
            self._known = {path: self._known[path] for path in newest.values() if path in self._known}

    def of(self, folder: str, evaluation: Evaluation) -> Verification | None:
        """Return the newest verification of an evaluation in a folder of the target; None if there is none."""
        with self._lock:
            path = self._names.get(folder)
            if path is None:
                return None
            is_known, known = path in self._known, self._known.get(path)
        if not is_known:
            known = self._read(path)
            with self._lock:
                self._known[path] = known
        return known if known is not None and known.scores == scores_of(evaluation) else None

    def save(self, folder: str, evaluation: Evaluation, verification: Verification) -> Verification:
        """Keep a verdict beside its evaluation; return it with scores and time.

        Raises:
            UploadTargetError: the target refuses.
        """
        now = datetime.now(UTC)
        reason = verification.reason and verification.reason[:_MAX_TEXT_CHARACTERS]
        to_milliseconds = now.replace(microsecond=now.microsecond // 1000 * 1000)
        kept = replace(verification, verified_at=to_milliseconds, scores=scores_of(evaluation), reason=reason)
        text = json.dumps({**kept.to_json(), "scores": kept.scores}, indent=2, allow_nan=False).encode() + b"\n"
        path = self._path_after(folder, now)
        self._target.add(path, text)
        with self._lock:
            self._names[folder] = path
            self._known[path] = kept
        return kept

    def _path_after(self, folder: str, now: datetime) -> str:
        """Return a path that sorts after the newest verdict's, also where the clock stood still or went back."""
        with self._lock:
            newest = self._names.get(folder, "")
        digits = "".join(re.findall("[0-9]", newest.rpartition("/")[2].rpartition("-")[0]))
        stamp = str(min(max(int(f"{now:%Y%m%d%H%M%S%f}"), int(digits or 0) + 1), _MAX_STAMP))
        return f"{folder}/verification.{stamp[:8]}T{stamp[8:14]}.{stamp[14:]}-{secrets.token_hex(4)}.json"

    def _read(self, path: str) -> Verification | None:
        try:
            return Verification.from_json(json.loads(self._target.read(path)))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError, UploadTargetError) as error:
            logger.warning("%r in the upload target is no verification and is passed over: %s", path, error)
            return None
