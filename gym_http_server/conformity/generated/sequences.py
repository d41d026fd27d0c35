"""Sequences of calls along the links of the contract."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ...contract import load_contract, resolve
from .schema import load_schema
from .session import KitSession

if TYPE_CHECKING:
    from collections.abc import Callable

    import hypothesis
    import requests
    from schemathesis import Case
    from schemathesis.core.transport import Response
    from schemathesis.schemas import BaseSchema


def load_linked_schema() -> BaseSchema:
    """Return createEnv and the operations that its links lead to, for valid requests only.

    Schemathesis's invalid requests can differ when hypothesis replays a sequence; each operation is tested with invalid
    requests by itself.
    """
    document = load_contract().document
    operations = {operation["operationId"]: operation for operation in load_contract().operations()}
    linked = ["createEnv"]
    for operation_id in linked:
        for response in operations[operation_id]["responses"].values():
            links = [resolve(document, link) for link in resolve(document, response).get("links", {}).values()]
            linked += sorted({link["operationId"] for link in links} - set(linked))
    return load_schema(generation={"mode": "positive"}).include(operation_id=linked)


def run_sequences(
    schema: BaseSchema,
    settings: hypothesis.settings,
    prepare: Callable[[Case[Any]], None],
    session: requests.Session,
    finish: Callable[[], None] = lambda: None,
    **sending: Any,
) -> None:
    """Call createEnv, then operations of the new instance, along the contract's links.

    Args:
        schema: the operations to call.
        settings: the number of sequences, and of their steps (`stateful_step_count`).
        prepare: called with each request before it is sent.
        session: sends the requests; a `KitSession` explains failures.
        finish: called after each sequence.
        sending: schemathesis's arguments for sending, at least `base_url`.
    """

    class Sequences(schema.as_state_machine()):  # type: ignore[misc]  # a class that schemathesis makes
        def before_call(self, case: Case[Any]) -> None:
            prepare(case)

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:  # noqa: ARG002 -- schemathesis's signature
            return {**sending, "session": session}

        def validate_response(self, response: Response, case: Case[Any], **options: Any) -> None:
            with session.explaining(response) if isinstance(session, KitSession) else contextlib.nullcontext():
                super().validate_response(response, case, **options)

        def teardown(self) -> None:
            finish()

    Sequences.run(settings=settings)
