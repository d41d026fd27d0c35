"""Operations of the tag `results`: upload recordings, list and compare evaluations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from ...errors import InvalidValueError, UploadTargetError
from ...support.threads import DaemonThreads
from ..call import AcceptedReply, StreamedReply, json_reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ...results.evaluation import Evaluation
    from ...results.scoreboard import Results
    from ...runtime.messages import Reply
    from ...verification.verifier import Verifier
    from ..call import Call


P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS: Final = 16
READ_SECONDS: Final = 60.0
"""Time limit for reading evaluations."""
UPLOAD_SECONDS: Final = 600.0
"""Time limit for an upload, videos included."""
MAX_NAME_CHARS = 256
"""Maximum characters of the names of an algorithm and a component, which every page of the scoreboard repeats."""


class ResultsHandlers:
    """Handlers of the tag `results`; files and remote targets are accessed in threads.

    Args:
        results: the evaluations.
        verifier: verifies them.
    """

    def __init__(self, results: Results, verifier: Verifier) -> None:
        self._results = results
        self._verifier = verifier
        self._threads = DaemonThreads(MAX_THREADS, "results")

    async def upload_recording(self, call: Call, body: dict[str, Any]) -> Reply:
        """Make an evaluation of a recording."""
        training_dir, api_key = _needed(body, "training_dir"), _needed(body, "api_key")
        names = {name: _text(body, name) for name in ("algorithm_id", "component")}
        for name, text in names.items():
            if text is not None and len(text) > MAX_NAME_CHARS:
                raise InvalidValueError(f"{name} has more than {MAX_NAME_CHARS} characters", parameter=name)
        evaluation = await self._within(UPLOAD_SECONDS, self._results.upload, training_dir, api_key, **names)
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
                found = [each for each in found if self._verifier.is_verified(each)]
            shown = found[(page - 1) * page_size : page * page_size]
            evaluations = [self._told(each) for each in shown]
            return json_reply({"total": len(found), "page": page, "page_size": page_size, "evaluations": evaluations})

        return await self._within(READ_SECONDS, listed)

    async def get_evaluation(self, call: Call, evaluation_id: str) -> Reply:
        """Describe an evaluation, with its learning curve."""
        return await self._within(READ_SECONDS, self._get, evaluation_id)

    async def verify_evaluation(self, call: Call, evaluation_id: str) -> Reply:
        """Verify an evaluation; the reply does not wait for the verdict."""
        verification = await self._within(READ_SECONDS, self._verifier.start, evaluation_id, asyncio.get_running_loop())
        return AcceptedReply(*json_reply(verification.to_json()))

    async def download_evaluation(self, call: Call, evaluation_id: str) -> StreamedReply:
        """Send all files of an evaluation, made into an archive while they are sent."""
        parts = await self._within(READ_SECONDS, self._results.archive, evaluation_id)
        headers = {"Content-Disposition": f'attachment; filename="{evaluation_id}.zip"'}
        return StreamedReply(self._sent(parts), "application/zip", headers)

    async def _sent(self, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
        # A thread is needed while a part is read, not while the client takes it.
        while part := await self._within(READ_SECONDS, next, parts, b""):
            yield part

    async def _within(self, seconds: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._threads.within(seconds, call, *args, **kwargs)
        except TimeoutError:
            raise UploadTargetError(
                f"{self._results.target.shown} did not answer within {seconds:g} s: where evaluations are kept, or what is to "
                "be uploaded, is not reached; try again"
            ) from None

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
