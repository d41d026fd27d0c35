"""`Results`: uploads recordings as evaluations, and lists and ranks evaluations."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from typing import TYPE_CHECKING, BinaryIO

from ..errors import (
    ForbiddenDirectoryError,
    InvalidValueError,
    NoRecordingError,
    NoTrajectoriesError,
    UnknownEvaluationError,
    UploadTargetError,
)
from ..support.threads import DaemonThreads
from .archive import zip_parts
from .evaluated_trajectories import EvaluatedTrajectories
from .evaluation import ENV_ID, EVALUATION_ID, Curve, Evaluation, curve_of, evaluate, library_of
from .recording import FILE, read_recording
from .recordings import Recordings
from .roots import Roots
from .target import EVALUATION_FILE, Target
from .threshold import Thresholds
from .verifications import VERIFIED, Verification, Verifications

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..config import Settings
    from .trajectories import Trajectories

logger = logging.getLogger(__name__)

MAX_READERS = 16
"""Maximum number of concurrent reads: each takes tens of milliseconds from a remote target."""
READ_SECONDS = 60.0
"""Time limit for reading all new evaluations."""


class Results:
    """Recordings and evaluations of a server. Thread-safe.

    Args:
        settings: the server's settings: `results_root`, `upload_to`, `imports` and `pass_variable`.

    Attributes:
        roots: the directories that may contain recordings.
        target: the storage of evaluations.
        recordings: the recordings in the roots.

    Raises:
        TargetUnavailableError: the target of the settings cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.roots = Roots(settings.results_root)
        self.target = Target(settings.upload_to or str(self.roots.paths[0] / "evaluations"))
        if settings.upload_to:
            # Not for the default target: under a read-only root nothing can be recorded either.
            self.target.check_writable()
        self.recordings = Recordings(self.roots, self.target.directory)
        self._verifications = Verifications(self.target)
        self._thresholds = Thresholds(settings.sources, pass_variable=settings.pass_variable)
        # By path. Evaluations never change, so each is read once.
        self._known: dict[str, Evaluation] = {}
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        self._readers = DaemonThreads(MAX_READERS, "evaluations")

    def recording_directory(self, directory: str) -> Path:
        """Return the absolute path of a directory for a recording; it need not exist.

        Raises:
            ForbiddenDirectoryError: it is outside the roots, or in the upload target.
            InvalidValueError: no directory can have that name.
        """
        path = self.roots.resolve(directory)
        target = self.target.directory
        if target is not None and path.is_relative_to(target):
            raise ForbiddenDirectoryError(
                f"directory {directory!r} is where evaluations are kept ({target}): choose one outside",
                roots=[str(target)],
            )
        return path

    def upload(
        self, training_dir: str, api_key: str, algorithm_id: str | None, component: str | None = None
    ) -> Evaluation:
        """Evaluate a recording, which may be unfinished, and write both to the target, the evaluation last.

        Args:
            training_dir: the directory of the recording, under one of the roots.
            api_key: passed to a target that takes a token; neither kept nor logged.
            algorithm_id: name of the algorithm, or None.
            component: the component of the rewards to evaluate; None where rewards are single numbers.

        Raises:
            ForbiddenDirectoryError: the directory or a file of the recording is outside the roots.
            InvalidValueError: no directory can have that name, `api_key` cannot be a token of the target, or the recording
                has no such component, or has components and none is named.
            NoRecordingError: the directory has no recording, or it is damaged.
            UploadTargetError: the target refuses.
        """
        directory = self.roots.resolve(training_dir)
        recording = self.recordings.read(directory)
        env_info = recording.results["env_info"]
        if len(env_info["env_id"]) > 256 or not ENV_ID.fullmatch(env_info["env_id"]):
            raise NoRecordingError(f"the recording in {training_dir!r} has no environment id that can be one")
        curve = curve_of(recording, training_dir, component)
        videos = self.recordings.videos(directory, recording)
        trajectories = EvaluatedTrajectories.of(directory, self.recordings.trajectories(directory, recording))
        library = library_of(env_info["gym_version"])
        evaluation = evaluate(
            curve,
            env_id=env_info["env_id"],
            library=library,
            algorithm_id=algorithm_id,
            # A threshold is one of the single return.
            reward_threshold=self._thresholds.of(env_info["env_id"], library) if component is None else None,
            videos=tuple(name for name, is_video in videos.items() if is_video),
            component=component,
            trajectories=trajectories,
        )
        text = json.dumps(evaluation.to_json(), indent=2, allow_nan=False).encode() + b"\n"
        files: list[tuple[str, bytes | Path]] = [(name, directory / name) for name in videos]
        files += [(name, directory / name) for name in (() if trajectories is None else trajectories.files)]
        files += [*recording.stats.items(), *recording.manifests.items(), (EVALUATION_FILE, text)]
        folder = _folder(evaluation)
        self.target.save(folder, files, api_key)
        with self._lock:
            self._known[f"{folder}/{EVALUATION_FILE}"] = evaluation
        return evaluation

    def evaluations(self, env_id: str | None = None, order: str = "newest") -> list[Evaluation]:
        """Return the evaluations of the target.

        Args:
            env_id: only evaluations of this environment; None for all.
            order: `newest` first, or `best` first, see `Evaluation.rank`.

        Raises:
            UploadTargetError: the target cannot be reached.
        """
        evaluations = [each for each in self._all().values() if env_id in (None, each.env_id)]
        evaluations.sort(key=lambda each: (each.created_at, each.evaluation_id), reverse=True)
        if order == "best":
            evaluations.sort(key=lambda each: each.rank, reverse=True)
        return evaluations

    def best(self, *, verified: bool = False) -> list[Evaluation]:
        """Return the best evaluation of each algorithm in each environment and component, by these, the best first.

        Of equal evaluations the earliest is taken. Evaluations without a completed episode are left out, and with `verified`
        those without the badge.

        Raises:
            UploadTargetError: the target cannot be reached.
        """
        best: dict[tuple[str, str | None, str | None], Evaluation] = {}
        for evaluation in reversed(self.evaluations()):
            if verified and not self.is_verified(evaluation):
                continue
            key = evaluation.env_id, evaluation.component, evaluation.algorithm_id
            if evaluation.score is not None and (key not in best or evaluation.rank > best[key].rank):
                best[key] = evaluation
        by_rank = sorted(best.values(), key=lambda each: each.rank, reverse=True)
        return sorted(by_rank, key=lambda each: (each.env_id, each.component or ""))

    def get(self, evaluation_id: str) -> Evaluation:
        """Return an evaluation.

        Raises:
            UnknownEvaluationError: no evaluation has that id.
            UploadTargetError: the target cannot be reached.
        """
        if EVALUATION_ID.fullmatch(evaluation_id):
            with self._lock:
                known = dict(self._known)
            for evaluations in (known.values, lambda: self._all().values()):
                for each in evaluations():
                    if each.evaluation_id == evaluation_id:
                        return each
        raise UnknownEvaluationError(
            f"there is no evaluation {evaluation_id[:64]!r} here: list them", evaluation_id=evaluation_id[:64]
        )

    def verification(self, evaluation: Evaluation) -> Verification | None:
        """Return the newest verification of an evaluation, as of the latest listing; None if there is none."""
        return self._verifications.of(_folder(evaluation), evaluation)

    def is_verified(self, evaluation: Evaluation) -> bool:
        """Return whether the newest verdict about an evaluation is the badge."""
        verification = self.verification(evaluation)
        return verification is not None and verification.state == VERIFIED

    def keep_verification(self, evaluation: Evaluation, verification: Verification) -> Verification:
        """Keep a verification beside its evaluation; see `Verifications.save`."""
        return self._verifications.save(_folder(evaluation), evaluation, verification)

    def open_trajectories(self, evaluation: Evaluation) -> Trajectories:
        """Open the trajectories of an evaluation; the caller closes them.

        Raises:
            NoTrajectoriesError: it has none.
            UnknownEvaluationError: it is there no more.
            UploadTargetError: the target cannot be reached, or they are damaged.
        """
        if evaluation.trajectories is None:
            raise NoTrajectoriesError.of(evaluation.evaluation_id)
        # Not at the top: it imports numpy, for which the start of a server does not wait.
        from .trajectories import Trajectories

        folder = _folder(evaluation)
        with contextlib.ExitStack() as on_error:
            try:
                names = evaluation.trajectories.files
                files = [on_error.enter_context(self.target.open(f"{folder}/{name}")) for name in names]
                opened = Trajectories(files, folder)
            except FileNotFoundError:
                raise self._gone(evaluation) from None
            except NoRecordingError as error:
                raise UploadTargetError(f"{self.target.shown}: {error.detail}") from None
            on_error.pop_all()
        return opened

    def curve(self, evaluation_id: str) -> Curve:
        """Return the learning curve of an evaluation, read from its recording in the target.

        Raises:
            UnknownEvaluationError: no evaluation has that id.
            UploadTargetError: the target cannot be reached, or the recording is damaged.
        """
        evaluation = self.get(evaluation_id)
        folder = _folder(evaluation)

        def read(name: str) -> bytes:
            if not FILE.fullmatch(name):
                raise ValueError("it is not called as a file of a recording")
            return self.target.read(f"{folder}/{name}")

        try:
            return curve_of(read_recording(folder, self.target.names(folder), read), folder, evaluation.component)
        except FileNotFoundError:
            raise self._gone(evaluation) from None
        except (NoRecordingError, InvalidValueError) as error:
            raise UploadTargetError(f"{self.target.shown}: {error.detail}") from None

    def open_file(self, evaluation_id: str, name: str) -> BinaryIO:
        """Open a video of an evaluation for reading; the file is seekable, and the caller closes it.

        Args:
            evaluation_id: the evaluation.
            name: one of its `videos`.

        Raises:
            UnknownEvaluationError: no evaluation has that id, or it has no such video.
            UploadTargetError: the target cannot be reached.
        """
        evaluation = self.get(evaluation_id)
        if name in evaluation.videos:
            try:
                return self.target.open(f"{_folder(evaluation)}/{name}")
            except FileNotFoundError:
                pass
        raise UnknownEvaluationError(
            f"evaluation {evaluation_id!r} has no video {name[:200]!r}", evaluation_id=evaluation_id
        )

    def archive(self, evaluation_id: str) -> Iterator[bytes]:
        """Return the parts of a ZIP archive of all files of an evaluation, each read from the target when it is wanted.

        Raises:
            UnknownEvaluationError: no evaluation has that id.
            UploadTargetError: the target cannot be reached; of a part, the file cannot be read.
        """
        evaluation = self.get(evaluation_id)
        folder = _folder(evaluation)
        try:
            sizes = self.target.sizes(folder)
        except FileNotFoundError:
            raise self._gone(evaluation) from None
        files = [
            (name, size) for name, size in sorted(sizes.items()) if FILE.fullmatch(name) or name == EVALUATION_FILE
        ]

        def read(name: str, start: int, length: int) -> bytes:
            try:
                return self.target.read_range(f"{folder}/{name}", start, length)
            except FileNotFoundError:
                raise UploadTargetError(f"{self.target.shown}: {name} of evaluation {evaluation_id} is gone") from None

        return zip_parts(files, read, evaluation.created_at.timetuple()[:6])

    def _gone(self, evaluation: Evaluation) -> UnknownEvaluationError:
        with self._lock:
            self._known.pop(f"{_folder(evaluation)}/{EVALUATION_FILE}", None)
        evaluation_id = evaluation.evaluation_id
        return UnknownEvaluationError(
            f"evaluation {evaluation_id!r} is there no more: list them", evaluation_id=evaluation_id
        )

    def _all(self) -> dict[str, Evaluation]:
        paths, verifications = self.target.listing()
        self._verifications.note(verifications)
        with self._lock:
            known = {path: self._known[path] for path in paths if path in self._known}
        new = [path for path in paths if path not in known]
        if new:
            try:
                read = list(self._readers.map(self._read, new, timeout=READ_SECONDS))
            except TimeoutError:
                raise UploadTargetError(
                    f"cannot read {self.target.shown}: it did not answer within {READ_SECONDS:g} s"
                ) from None
            known |= {path: each for path, each in zip(new, read, strict=True) if each is not None}
        with self._lock:
            self._known = known
        return known

    def _read(self, path: str) -> Evaluation | None:
        try:
            evaluation = Evaluation.from_json(json.loads(self.target.read(path)))
            if f"{_folder(evaluation)}/{EVALUATION_FILE}" != path:
                raise ValueError("it is the evaluation of another folder")  # noqa: TRY301 -- handled below
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError, UploadTargetError) as error:
            # Logged once, not with every listing.
            if path not in self._refused:
                self._refused.add(path)
                logger.warning("%r in the upload target is no evaluation and is passed over: %s", path, error)
            return None
        return evaluation


def _folder(evaluation: Evaluation) -> str:
    return f"{evaluation.env_id}/{evaluation.evaluation_id}"
