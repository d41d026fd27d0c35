"""The connexion app: the contract bound to the handlers."""

from __future__ import annotations

import copy
import functools
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from ..errors import GymHttpServerError
from .call import AcceptedReply, StreamedReply
from .connexion_parts import (
    AsyncApp,
    ConnexionRequest,
    ConnexionResponse,
    MiddlewarePosition,
    ProblemException,
    Resolver,
    SwaggerUIOptions,
    current_request,
)
from .content.validators import BODY_VALUE, body_validators
from .normalizer import IS_HEAD
from .problems import Problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from ..contract import Contract
    from .handlers import Handler

logger = logging.getLogger(__name__)

__all__ = ["MiddlewarePosition", "make_connexion_app"]


def make_connexion_app(
    contract: Contract, handlers: Mapping[str, Handler], max_values: int, *, validate_responses: bool
) -> AsyncApp:
    """Return the connexion app that binds the handlers to the contract; without middleware.

    Args:
        contract: the contract.
        handlers: the handler of every operation, by operationId.
        max_values: maximum number of values in a body.
        validate_responses: validate every reply against the contract; slow, for tests.
    """
    # A copy, because connexion resolves references in place. Without `security`: the gate has already checked the key.
    document = copy.deepcopy(contract.document)
    document.pop("security", None)
    for item in document["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                operation.pop("security", None)
    options = SwaggerUIOptions(serve_spec=False, swagger_ui=False)
    app = AsyncApp("gym_http_server", swagger_ui_options=options)
    app.add_api(
        document,  # a dict: connexion runs files through a template engine
        resolver=Resolver(function_resolver=lambda operation_id: bound(handlers[operation_id])),
        validate_responses=validate_responses,
        validator_map={"body": body_validators(max_values)},
    )
    # It warns on every request that an operation takes two media types.
    logging.getLogger("connexion.operations.openapi3").setLevel(logging.ERROR)
    for kind in (ProblemException, HTTPException, Exception):
        app.add_error_handler(kind, _on_error)
    return app


def _on_error(request: ConnexionRequest, error: Exception) -> ConnexionResponse:  # noqa: ARG001 -- connexion's signature
    match error:
        case ProblemException():
            problem = Problem(error.status, _slug_of_status(error.status), _first_line(error.detail), error.headers)
        case HTTPException():
            status = error.status_code
            problem = Problem(status, _slug_of_status(status), _first_line(error.detail), error.headers)
        case _:
            problem = problem_of(error)
    return ConnexionResponse(problem.status, body=problem.body, headers=dict(problem.headers))


def _slug_of_status(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "-").replace("'", "")


def _first_line(detail: object) -> str:
    # For a parameter, connexion appends a dump of schema and instance to the first line.
    return str(detail).strip().split("\n", 1)[0]


class _Stream(StreamingResponse):
    """The response with a `StreamedReply`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if not scope.get(IS_HEAD):
                await super().__call__(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
        except GymHttpServerError as error:
            # The status is sent; a reply without its last part closes the connection.
            logger.warning("the reply to %s %s cannot be completed: %s", scope["method"], scope["path"], error.detail)


def bound(handler: Handler) -> Callable[..., Awaitable[ConnexionResponse | StreamingResponse]]:
    """Wrap a handler for connexion, which reads the names of the arguments from the signature."""

    @functools.wraps(handler)
    async def call(**arguments: Any) -> ConnexionResponse:
        value = current_request.scope.get(BODY_VALUE)
        # connexion converts JSON's null depending on the schema.
        if "body" in arguments and (value is not None or isinstance(arguments["body"], bytes)):
            arguments["body"] = value
        reply = await handler(**arguments)
        if isinstance(reply, StreamedReply):
            return _Stream(reply.parts, media_type=reply.media_type, headers=dict(reply.headers))
        status = 202 if isinstance(reply, AcceptedReply) else 200
        return ConnexionResponse(status, content_type=reply.media_type, body=reply.body, headers=dict(reply.headers))

    return call
