"""Sequences of calls along the links of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemathesis.core.failures import FailureGroup

from ..contract import load_contract, resolve
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
    """Return createEnv and what follows on it along the contract's links, for good requests only.

    What schemathesis makes of a request that is to be a bad one is not always the same when hypothesis plays a sequence
    again; each operation has its bad requests by itself.
    """
    document = load_contract().document
    operations = {each["operationId"]: each for each in load_contract().operations()}
    found = ["createEnv"]
    for operation_id in found:
        for response in operations[operation_id]["responses"].values():
            links = [resolve(document, each) for each in resolve(document, response).get("links", {}).values()]
            found += sorted({each["operationId"] for each in links} - set(found))
    return load_schema(generation={"mode": "positive"}).include(operation_id=found)


def run_sequences(
    schema: BaseSchema,
    settings: hypothesis.settings,
    prepare: Callable[[Case[Any]], None],
    session: requests.Session,
    finish: Callable[[], None] = lambda: None,
    **sending: Any,
) -> None:
    """Make calls along the links of the contract: create, then whatever takes the new instance's id.

    Args:
        schema: what to call.
        settings: how many sequences, and of how many steps (`stateful_step_count`).
        prepare: is called with each request before it is sent.
        session: to send by; one of the kit's explains what is found.
        finish: is called after each sequence.
        sending: how schemathesis is to send, at least the `base_url`.
    """

    class Sequences(schema.as_state_machine()):  # type: ignore[misc]  # a class that schemathesis makes
        def before_call(self, case: Case[Any]) -> None:
            prepare(case)

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:  # noqa: ARG002 -- schemathesis's signature
            return {**sending, "session": session}

        def validate_response(self, response: Response, case: Case[Any], **options: Any) -> None:
            try:
                super().validate_response(response, case, **options)
            except FailureGroup as error:
                if isinstance(session, KitSession):
                    session.explain(error, response)
                raise

        def teardown(self) -> None:
            finish()

    Sequences.run(settings=settings)
