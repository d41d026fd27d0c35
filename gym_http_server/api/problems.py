"""Problem details: the response to any error, whether a handler, connexion, Starlette or a defect raised it.

Format: RFC 9457 `application/problem+json`, with the member `message`, which clients of the v1 contract read.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from .. import errors
from ..runtime.values.encoding import json_bytes
from .refusals import REFUSALS
from .request import CURRENT, current_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .asgi import Scope

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "urn:gym-http-server:problem:"

STATUS: dict[type[errors.GymHttpServerError], int] = {
    # The v1 contract answers 400 for unknown ids, and its tests assert that.
    errors.UsageError: 400,
    errors.UnknownInstanceError: 400,
    errors.UnknownEnvironmentError: 400,
    errors.InterpreterChoiceError: 400,
    errors.EnvironmentCreationError: 400,
    errors.MissingDependencyError: 400,
    errors.InvalidActionError: 400,
    errors.InvalidValueError: 400,
    errors.RenderFormatError: 406,
    errors.ForbiddenDirectoryError: 403,
    errors.NoRecordingError: 400,
    errors.ExportError: 400,
    errors.UnknownEvaluationError: 404,
    errors.UnknownEpisodeError: 404,
    errors.UnknownSnapshotError: 404,
    errors.ConflictError: 409,
    errors.ResetNeededError: 409,
    errors.InstanceKindError: 409,
    errors.RenderModeError: 409,
    errors.RecordingExistsError: 409,
    errors.NotCopyableError: 409,
    errors.InstanceHeldError: 409,
    errors.HoldEndedError: 409,
    errors.NoTransitionModelError: 409,
    errors.NoTrajectoriesError: 409,
    errors.RecordingFailedError: 507,
    errors.FileSystemTimeoutError: 504,
    errors.UploadTargetError: 502,
    errors.InquiryFailedError: 502,
    errors.ReplyTooLargeError: 413,
    errors.TooManyLanesError: 413,
    errors.TooManyInstancesError: 429,
    errors.TooManySnapshotsError: 429,
    errors.TooManyVerificationsError: 429,
    errors.KeyReusedError: 422,
    errors.OutOfResourcesError: 503,
    errors.NoShardError: 503,
    errors.ShardUnreachableError: 502,
    errors.RuntimeDefectError: 502,
    errors.EnvironmentFailure: 502,
    errors.EnvironmentRaisedError: 502,
    errors.EnvironmentResultError: 502,
    errors.EnvironmentDiedError: 502,
    errors.CallTimeoutError: 504,
    errors.RolloutTimeoutError: 504,
    errors.InstanceLostError: 410,
    errors.StartError: 500,
    errors.AddressError: 500,
    errors.EngineUnavailableError: 500,
    errors.InterpreterOptionError: 500,
    errors.ImportFailedError: 500,
    errors.AccessError: 500,
    errors.ResultsRootError: 500,
    errors.TargetUnavailableError: 500,
    errors.GymHttpServerError: 500,
}
"""The HTTP status of every error class; a test checks that none is missing."""


class HttpProblem(Exception):
    """An error of HTTP itself, not of an environment.

    Args:
        status: the HTTP status.
        slug: the last part of the problem's `type`.
        detail: what was wrong, what was expected, and a remedy.
        headers: response headers.
        facts: further members of the problem details.
    """

    def __init__(
        self, status: int, slug: str, detail: str, *, headers: Mapping[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.headers = dict(headers or {})
        self.facts = facts


class Problem:
    """A response with problem details.

    Attributes:
        status: the HTTP status.
        body: the problem details as JSON.
        headers: the response headers, Content-Type among them.
    """

    def __init__(
        self, status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None, /, **facts: Any
    ) -> None:
        # Positional only: facts may have any name, because some come from an environment's process.
        self.status = status
        detail = errors.shortened(detail)
        self.headers = {"content-type": PROBLEM_JSON, **(headers or {})}
        title = slug.replace("-", " ").capitalize()
        members = {"type": TYPE_PREFIX + slug, "title": title, "status": status, "detail": detail, "message": detail}
        self.body = json_bytes({**facts, **members})


def problem_of(error: BaseException, scope: Scope | None = None) -> Problem:
    """Return the response for an error; an unknown exception is a defect, logged and answered with 500.

    `scope` is the request, for the log; None for the current one.
    """
    match error:
        case HttpProblem():
            problem = Problem(error.status, error.slug, error.detail, error.headers, **error.facts)
        case errors.GymHttpServerError():
            problem = Problem(STATUS[type(error)], slug_of(type(error)), error.detail, _headers(error), **error.facts)
        case _:
            reference = current_id()
            logger.error("internal error %s", reference, exc_info=error)
            detail = f"the server has a defect; its log tells more under the reference {reference}, please report it"
            return Problem(500, "internal-error", detail, reference=reference)
    _log_refusal(problem.status, error.detail, scope)
    return problem


def _headers(error: errors.GymHttpServerError) -> dict[str, str] | None:
    if not isinstance(error, errors.InstanceHeldError):
        return None
    seconds = error.facts.get("retry_after")
    # It may come from an environment's process, which is third-party code.
    is_right = type(seconds) is int and 0 < seconds <= errors.MAX_RETRY_SECONDS
    return {"retry-after": str(seconds if is_right else errors.MAX_RETRY_SECONDS)}


def _log_refusal(status: int, detail: str, scope: Scope | None) -> None:
    # Failures of an environment are in its output or logged as its loss; a wrong key is logged as a guess.
    if status < 500 or status in (503, 507):
        if scope is None and (request := CURRENT.get()) is not None:
            scope = request.scope
        if not (status == 401 and scope is not None and any(name == b"authorization" for name, _ in scope["headers"])):
            REFUSALS.note(status, detail, scope)


def slug_of(cls: type[errors.GymHttpServerError]) -> str:
    """Return the slug of an error class, such as `unknown-instance` for UnknownInstanceError."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__.removesuffix("Error")).lower()
