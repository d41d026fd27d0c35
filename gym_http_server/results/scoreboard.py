"""`Results`: uploads recordings as evaluations, and lists and ranks evaluations."""

from __future__ import annotations

import json
import logging
import re
import threading
from typing import TYPE_CHECKING, BinaryIO

from ..errors import ForbiddenDirectoryError, NoRecordingError, UnknownEvaluationError, UploadTargetError
from ..support.files import read_regular
from ..support.threads import DaemonThreads
from .evaluation import ENV_ID, EVALUATION_ID, FILE, Curve, Evaluation, evaluate
from .recording import DAMAGE, Recording, names_in, read_recording
from .roots import Roots
from .target import EVALUATION_FILE, Target
from .threshold import Thresholds

if TYPE_CHECKING:
    from pathlib import Path

    from ..config import Settings

logger = logging.getLogger(__name__)

READERS = 16
"""How many evaluations are read at once: of a far target each takes tens of milliseconds."""
READ_SECONDS = 60.0
"""How long the target may take over those that are new."""


class Results:
    """Where recordings become evaluations, and evaluations are kept; safe to use from several threads.

    Args:
        settings: the server's settings: `results_root`, `upload_to` and `imports`.

    Attributes:
        roots: the directories that recordings lie under.
        target: where evaluations are kept.

    Raises:
        TargetUnavailableError: they cannot be kept where the settings say.
    """

    def __init__(self, settings: Settings) -> None:
        self.roots = Roots(settings.results_root)
        self.target = Target(settings.upload_to or str(self.roots.paths[0] / "evaluations"))
        if settings.upload_to:
            # Where nothing can be recorded, such as under a root that is read-only, the usual one is not asked for either.
            self.target.check_writable()
        self._thresholds = Thresholds(settings.imports, pass_variable=settings.pass_variable)
        # Evaluations never change, so one that was read need not be read again. By path.
        self._known: dict[str, Evaluation] = {}
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        self._readers = DaemonThreads(READERS, "evaluations")

    def recording_directory(self, directory: str) -> Path:
        """Return the absolute path of a directory that may be recorded in; it need not exist.

        Raises:
            ForbiddenDirectoryError: it is outside the roots, or where evaluations are kept.
            InvalidValueError: no directory can have that name.
        """
        path = self.roots.resolve(directory)
        kept = self.target.directory
        if kept is not None and path.is_relative_to(kept):
            raise ForbiddenDirectoryError(
                f"directory {directory!r} is where evaluations are kept ({kept}): choose one outside", roots=[str(kept)]
            )
        return path

    def upload(self, training_dir: str, api_key: str, algorithm_id: str | None) -> Evaluation:
        """Make an evaluation of a recording as it stands, and write both to the target, the evaluation last.

        Args:
            training_dir: the directory of the recording, under one of the roots.
            api_key: handed to a target that takes a token; neither kept nor logged.
            algorithm_id: what the algorithm is called, or None.

        Raises:
            ForbiddenDirectoryError: the directory, or a file of the recording, is outside the roots.
            InvalidValueError: no directory can have that name, or the target can take no such token.
            NoRecordingError: there is no recording, or it is damaged.
            UploadTargetError: the target refuses.
        """
        directory = self.roots.resolve(training_dir)

        def read(name: str) -> bytes:
            return read_regular(self._file_of(directory, name))

        recording = read_recording(str(directory), names_in(directory), read)
        env_info = recording.results["env_info"]
        if len(env_info["env_id"]) > 256 or not ENV_ID.fullmatch(env_info["env_id"]):
            raise NoRecordingError(f"the recording in {training_dir!r} has no environment id that can be one")
        curve = _curve(recording, training_dir)
        videos = self._videos(directory, recording)
        library = _library(env_info["gym_version"])
        evaluation = evaluate(
            curve,
            env_id=env_info["env_id"],
            library=library,
            algorithm_id=algorithm_id,
            reward_threshold=self._thresholds.of(env_info["env_id"], library),
            videos=tuple(name for name, is_video in videos.items() if is_video),
        )
        text = json.dumps(evaluation.to_json(), indent=2, allow_nan=False).encode() + b"\n"
        files: list[tuple[str, bytes | Path]] = [(name, directory / name) for name in videos]
        files += [*recording.stats.items(), *recording.manifests.items(), (EVALUATION_FILE, text)]
        folder = _folder(evaluation)
        self.target.save(folder, files, api_key)
        with self._lock:
            self._known[f"{folder}/{EVALUATION_FILE}"] = evaluation
        return evaluation

    def evaluations(self, env_id: str | None = None, order: str = "newest") -> list[Evaluation]:
        """Return the evaluations of the target.

        Args:
            env_id: only those of this environment; None for all.
            order: `newest` first, or `best` first: by the best mean of 100 episodes, then by the mean of all.

        Raises:
            UploadTargetError: the target cannot be reached.
        """
        found = [each for each in self._all().values() if env_id is None or each.env_id == env_id]
        found.sort(key=lambda each: (each.created_at, each.evaluation_id), reverse=True)
        if order == "best":
            found.sort(key=lambda each: each.rank, reverse=True)
        return found

    def best(self) -> list[Evaluation]:
        """Return the best evaluation of each algorithm in each environment, by environment and then the best first.

        Of equals it is the earliest. One without a completed episode ranks nowhere.

        Raises:
            UploadTargetError: the target cannot be reached.
        """
        best: dict[tuple[str, str | None], Evaluation] = {}
        for each in reversed(self.evaluations()):
            key = each.env_id, each.algorithm_id
            if each.score is None:
                continue
            if key not in best or each.rank > best[key].rank:
                best[key] = each
        found = sorted(best.values(), key=lambda each: each.rank, reverse=True)
        return sorted(found, key=lambda each: each.env_id)

    def get(self, evaluation_id: str) -> Evaluation:
        """Return an evaluation.

        Raises:
            UnknownEvaluationError: there is none of that id.
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

    def curve(self, evaluation_id: str) -> Curve:
        """Return the learning curve of an evaluation, from the recording that was uploaded with it.

        Raises:
            UnknownEvaluationError: there is none of that id.
            UploadTargetError: the target cannot be reached, or the recording there is damaged.
        """
        folder = _folder(self.get(evaluation_id))

        def read(name: str) -> bytes:
            if not FILE.fullmatch(name):
                raise ValueError("it is not called as a file of a recording")
            return self.target.read(f"{folder}/{name}")

        try:
            return _curve(read_recording(folder, self.target.names(folder), read), folder)
        except FileNotFoundError:
            raise self._gone(folder, evaluation_id) from None
        except NoRecordingError as error:
            raise UploadTargetError(f"{self.target.shown}: {error.detail}") from None

    def open_file(self, evaluation_id: str, name: str) -> BinaryIO:
        """Open a video of an evaluation for reading; the file is seekable, and the caller closes it.

        Args:
            evaluation_id: the evaluation.
            name: one of its `videos`.

        Raises:
            UnknownEvaluationError: there is no evaluation of that id, or it has no such video.
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

    def _file_of(self, directory: Path, name: str) -> Path:
        """Return the path of a file of a recording that a client named.

        Raises:
            ForbiddenDirectoryError: it is a link out of the roots.
            ValueError: it is not a file of a recording.
        """
        if not FILE.fullmatch(name):
            raise ValueError("it is not called as a file of a recording")
        path = (directory / name).resolve()
        self.roots.check(path, str(directory / name))
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        return path

    def _videos(self, directory: Path, recording: Recording) -> dict[str, bool]:
        """Return the names of the videos and of their metadata, as far as they are there, and which are videos."""
        found: dict[str, bool] = {}
        for video, meta in recording.videos:
            for name, is_video in ((meta, False), (video, True)):
                try:
                    if self._file_of(directory, name).is_file():
                        found[name] = is_video
                except ValueError as error:
                    logger.warning("a video of the recording in %s is passed over: %r: %s", directory, name, error)
        return found

    def _all(self) -> dict[str, Evaluation]:
        paths = self.target.evaluations()
        with self._lock:
            found = {path: self._known[path] for path in paths if path in self._known}
        new = [path for path in paths if path not in found]
        if new:
            try:
                read = list(zip(new, self._readers.map(self._read, new, timeout=READ_SECONDS), strict=True))
            except TimeoutError:
                raise UploadTargetError(
                    f"cannot read {self.target.shown}: it did not answer within {READ_SECONDS:g} s"
                ) from None
            found |= {path: each for path, each in read if each is not None}
        with self._lock:
            self._known = found
        return found

    def _read(self, path: str) -> Evaluation | None:
        try:
            evaluation = Evaluation.from_json(json.loads(self.target.read(path)))
            if f"{_folder(evaluation)}/{EVALUATION_FILE}" != path:
                raise ValueError("it is the evaluation of another folder")  # noqa: TRY301 -- handled as the others are
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError, UploadTargetError) as error:
            # Once, and not with every look at the scoreboard.
            if path not in self._refused:
                self._refused.add(path)
                logger.warning("%r in the upload target is no evaluation and is passed over: %s", path, error)
            return None
        return evaluation

    def _gone(self, folder: str, evaluation_id: str) -> UnknownEvaluationError:
        with self._lock:
            self._known.pop(f"{folder}/{EVALUATION_FILE}", None)
        return UnknownEvaluationError(
            f"evaluation {evaluation_id!r} is there no more: list them", evaluation_id=evaluation_id
        )


def _folder(evaluation: Evaluation) -> str:
    return f"{evaluation.env_id}/{evaluation.evaluation_id}"


def _curve(recording: Recording, where: str) -> Curve:
    try:
        return Curve.of(recording.results)
    except DAMAGE as error:
        raise NoRecordingError(f"the recording in {where!r} is damaged: {error}") from None


def _library(gym_version: str) -> str:
    """Return library and version; Gym before 0.26 wrote its version alone."""
    return f"gym {gym_version}" if re.match(r"\d", gym_version) else gym_version
