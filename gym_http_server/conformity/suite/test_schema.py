"""Every operation of the contract, with generated requests good and bad, in JSON and MessagePack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from ...contract import METHODS, load_contract
from ..caller import Caller
from ..contract import DOCUMENT, example_path
from ..exchange import Nonconformity, Request
from ..generated.cases import UNEXPECTED_METHODS, accepted, aim, restrain
from ..generated.schema import each_operation, load_schema
from ..implementation import Implementation
from ..ledger import UNKNOWN_ID
from ..plugin import CHOSEN_OPERATIONS, PROFILE

if TYPE_CHECKING:
    from schemathesis import Case

    from ..generated.pool import Pool
    from ..generated.session import KitSession

SCHEMA = load_schema(phases={"coverage": {"unexpected-methods": UNEXPECTED_METHODS}})
UPLOAD = "uploadRecording"
SHUTDOWN = "shutdownServer"


@pytest.fixture(scope="module", autouse=True)
def _there(implementation: Implementation) -> None:
    """Give schemathesis the URL: its checks need the base path of the operations."""
    SCHEMA.config.update(base_url=implementation.url)


@pytest.fixture(scope="module")
def absent(implementation: Implementation) -> set[str]:
    """The operations that a server may lack (`x-optional`) and this one does not have, by its document."""
    answer = implementation.ask(Request("GET", "/openapi.json")).answer
    served = {
        operation.get("operationId")
        for item in (answer.json.get("paths", {}).values() if answer.status == 200 else ())
        for operation in item.values()
        if isinstance(operation, dict)
    }
    return {each["operationId"] for each in load_contract().operations() if each.get("x-optional")} - served


def test_document(implementation: Implementation) -> None:
    """The document that is served is this contract, in this version, with all of its operations but optional ones."""
    exchange = implementation.ask(Request("GET", "/openapi.json"))
    answer, contract = exchange.answer, load_contract()
    if answer.status != 200:
        pytest.skip(f"{answer.status} for /openapi.json; held against contract {contract.document['info']['version']}")
    document = answer.json
    served = {
        operation.get("operationId")
        for item in document.get("paths", {}).values()
        for operation in item.values()
        if isinstance(operation, dict)
    }
    required = [operation["operationId"] for operation in contract.operations() if not operation.get("x-optional")]
    missing = [operation_id for operation_id in required if operation_id not in served]
    if missing:
        raise Nonconformity("every operation of this contract", f"none of {', '.join(missing)}")
    here, there = contract.document["info"]["version"], document["info"]["version"]
    if here != there:
        raise Nonconformity(f"version {here}, which this kit checks", f"version {there}")


def test_access(implementation: Implementation, absent: set[str]) -> None:
    """Without its key every operation is refused with 401, but for those that need none."""
    if not implementation.key_headers:
        pytest.skip("no key was given")
    with Implementation(implementation.url, None, implementation.timeout) as anonymous:
        caller = Caller(anonymous)
        for template, item in DOCUMENT["paths"].items():
            for method in (method for method in METHODS if method in item):
                operation = item[method]
                is_open = operation.get("security", DOCUMENT["security"]) == []
                if operation["operationId"] in {SHUTDOWN, *absent} or is_open:
                    continue
                path = example_path(template, instance_id=UNKNOWN_ID)
                exchange = caller.exchange(Request.of(method.upper(), path, {} if method == "post" else None))
                if exchange.answer.status == 200:
                    pytest.skip("it asks for no key")
                if exchange.answer.status != 401:
                    raise Nonconformity("401", str(exchange.answer.status), exchange)


def is_chosen(operation: dict[str, Any]) -> bool:
    """Return whether requests are generated for an operation."""
    return not CHOSEN_OPERATIONS or operation["operationId"] in CHOSEN_OPERATIONS


@each_operation(SCHEMA, hypothesis.settings.get_profile(PROFILE), only=is_chosen)
def test_operation(
    case: Case[Any],
    implementation: Implementation,
    session: KitSession,
    caller: Caller,
    pool: Pool,
    with_uploads: bool,
    absent: set[str],
) -> None:
    """Whatever is sent, the reply is one that the contract declares, and what it forbids is refused."""
    operation_id = case.operation.definition.raw["operationId"]
    if operation_id == SHUTDOWN:
        pytest.skip("it would stop the server")
    if operation_id == UPLOAD and not with_uploads:
        pytest.skip("it writes evaluations: --with-uploads")
    if operation_id in absent:
        pytest.skip("it is optional, and this server's document does not have it")
    aim(case, pool, caller.sample)
    restrain(case, implementation.ledger)
    with implementation.closing():
        session.validate(case, accepted(case))
