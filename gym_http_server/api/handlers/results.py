"""Operations of the tag `results`: upload recordings, list and compare evaluations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from ...errors import InvalidValueError, UnknownEvaluationError, UploadTargetError
from ...verification.source import Source
from ..call import AcceptedReply, json_reply
from .recordings import READ_SECONDS, TrajectoryReplies

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...results.evaluation import Evaluation
    from ...results.scoreboard import Results
    from ...runtime.messages import Reply
    from ...verification.verifier import Replays
    from ..call import Call, StreamedReply


UPLOAD_SECONDS: Final = 600.0
"""Time limit for an upload, videos included."""
MAX_NAME_CHARS = 256
"""Maximum characters of the names of an algorithm and a component, which every page of the scoreboard repeats."""


class ResultsHandlers:
    """Handlers of the tag `results`; files and remote targets are accessed in threads.

    Args:
        results: the evaluations.
        replays: replays their trajectories.
    """

    def __init__(self, results: Results, replays: Replays) -> None:
        self._results = results
        self._verifier = replays.verifier
        self._replies = TrajectoryReplies(replays.frames, "results", self._late)

    async def upload_recording(self, call: Call, body: dict[str, Any]) -> Reply:
        """Make an evaluation of a recording."""
        training_dir, api_key = _needed(body, "training_dir"), _needed(body, "api_key")
        names = {name: _text(body, name) for name in ("algorithm_id", "component")}
        for name, text in names.items():
            if text is not None and len(text) > MAX_NAME_CHARS:
                raise InvalidValueError(f"{name} has more than {MAX_NAME_CHARS} characters", parameter=name)
        evaluation = await self._replies.within(UPLOAD_SECONDS, self._results.upload, training_dir, api_key, **names)
        return json_reply(self._told(evaluation))

    async def list_evaluations(
        self,
        call: Call,
        env_id: str | None = None,
        order: str = "newest",
        page: int = 1,
        page_size: int = 50,
        verified: bool = False,
    ) -> Reply:
        """List a page of the evaluations."""

        def listed() -> Reply:
            found = self._results.evaluations(env_id, order)
            if verified:
                found = [each for each in found if self._results.is_verified(each)]
            shown = found[(page - 1) * page_size : page * page_size]
            evaluations = [self._told(each) for each in shown]
            return json_reply({"total": len(found), "page": page, "page_size": page_size, "evaluations": evaluations})

        return await self._replies.within(READ_SECONDS, listed)

    async def get_evaluation(self, call: Call, evaluation_id: str) -> Reply:
        """Describe an evaluation, with its learning curve."""
        return await self._replies.within(READ_SECONDS, self._get, evaluation_id)

    async def verify_evaluation(self, call: Call, evaluation_id: str) -> Reply:
        """Verify an evaluation; the reply does not wait for the verdict."""
        verification = await self._replies.within(
            READ_SECONDS, self._verifier.start, evaluation_id, asyncio.get_running_loop()
        )
        return AcceptedReply(*json_reply(verification.to_json()))

    async def get_verification(self, call: Call, evaluation_id: str) -> Reply:
        """Describe the verification of an evaluation."""

        def told() -> Reply:
            verification = self._verifier.of(self._results.get(evaluation_id))
            if verification is None:
                detail = f"evaluation {evaluation_id!r} has no verification: verifyEvaluation makes one"
                raise UnknownEvaluationError(detail, evaluation_id=evaluation_id)
            return json_reply(verification.to_json())

        return await self._replies.within(READ_SECONDS, told)

    async def get_episode(
        self, call: Call, evaluation_id: str, episode: int, start: int = 0, count: int = 100, values: bool = True
    ) -> Reply:
        """Return some states of a recorded episode."""
        return await self._replies.episode(call, self._source(evaluation_id), episode, (start, count), values=values)

    async def get_episode_frame(self, call: Call, evaluation_id: str, episode: int, step: int) -> Reply:
        """Return a frame of a recorded episode."""
        return await self._replies.frame(self._source(evaluation_id), episode, step)

    async def download_evaluation(self, call: Call, evaluation_id: str) -> StreamedReply:
        """Send all files of an evaluation, made into an archive while they are sent."""
        return await self._replies.attached(lambda: self._results.archive(evaluation_id), f"{evaluation_id}.zip")

    async def download_dataset(self, call: Call, evaluation_id: str) -> StreamedReply:
        """Send the trajectories of an evaluation as a dataset in Parquet."""
        return await self._replies.dataset(self._source(evaluation_id), f"{evaluation_id}-parquet.zip")

    def _source(self, evaluation_id: str) -> Callable[[], Source]:
        return lambda: Source.of_evaluation(self._results, evaluation_id)

    def _late(self, seconds: float) -> UploadTargetError:
        return UploadTargetError(
            f"{self._results.target.shown} did not answer within {seconds:g} s: where evaluations are kept, or what is to "
            "be uploaded, is not reached; try again"
        )

    def _get(self, evaluation_id: str) -> Reply:
        # In a thread, too: the curve of a million episodes takes long to encode.
        evaluation, curve = self._results.get(evaluation_id), self._results.curve(evaluation_id)
        return json_reply({**self._told(evaluation), "curve": curve.to_json()})

    def _told(self, evaluation: Evaluation) -> dict[str, Any]:
        verification = self._verifier.of(evaluation)
        told = evaluation.to_json()
        return told if verification is None else {**told, "verification": verification.to_json()}


def _needed(body: dict[str, Any], name: str) -> str:
    value = _text(body, name)
    if value is None:
        raise InvalidValueError(f"{name} is missing or empty, and an upload needs it", parameter=name)
    return value


def _text(body: dict[str, Any], name: str) -> str | None:
    """Return a text of a body, or None: clients of the v1 contract send null, "" or [] for a missing one."""
    value = body.get(name)
    if value is None or value in ("", []):
        return None
    if not isinstance(value, str):
        raise InvalidValueError(f"{name} is to be a text", parameter=name)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(f"{name} holds half a character", parameter=name) from None
    return value
