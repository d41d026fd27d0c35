"""Calls along the links of the contract, and calls of unknown instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from ...contract import METHODS
from ..contract import DOCUMENT, example_body, example_path
from ..exchange import Nonconformity, NotServed, Request
from ..generated.cases import restrain, steer
from ..generated.sequences import load_linked_schema, run_sequences
from ..ledger import UNKNOWN_ID
from ..plugin import ENV_IDS, PROFILE
from .lifecycle import live

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case

    from ..caller import Caller
    from ..generated.session import KitSession
    from ..implementation import Implementation

SCHEMA = load_linked_schema()


def test_sequences(implementation: Implementation, caller: Caller, session: KitSession) -> None:
    """Whatever follows on createEnv, in whatever order, each reply is one that the contract declares."""
    served = list(_served(caller))
    SCHEMA.config.update(base_url=implementation.url)

    def prepare(case: Case[Any]) -> None:
        restrain(case, implementation.ledger)
        steer(case, served, caller.sample)

    with implementation.closing():
        run_sequences(
            SCHEMA,
            hypothesis.settings.get_profile(PROFILE),
            prepare,
            finish=implementation.close_instances,
            **session.sending,
        )


def _served(caller: Caller) -> Iterator[str]:
    refused: list[NotServed] = []
    for env_id in ENV_IDS:
        try:
            caller.close_env(caller.create_env(env_id)["instance_id"])
        except NotServed as error:
            refused.append(error)
        else:
            yield env_id
    if len(refused) == len(ENV_IDS):
        raise refused[0]


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_lifecycle(implementation: Implementation, caller: Caller, env_id: str) -> None:
    """An instance steps after a reset only, counts its steps, refuses invalid actions, and is unknown once closed."""
    with implementation.closing():
        live(caller, env_id, hypothesis.settings.get_profile(PROFILE))


@pytest.mark.parametrize("state", ["closed", "never made"])
def test_unknown(implementation: Implementation, caller: Caller, state: str) -> None:
    """An instance that is not there is a 400 that names the Instance_id, whatever is asked of it."""
    instance_id = UNKNOWN_ID
    if state == "closed":
        instance_id = caller.create_env(ENV_IDS[0])["instance_id"]
        caller.close_env(instance_id)
    for template, item in DOCUMENT["paths"].items():
        if "{instance_id}" not in template:
            continue
        for method in (method for method in METHODS if method in item):
            path = example_path(template, instance_id=instance_id)
            value = example_body(item[method])
            if value is not None and "directory" in value:
                value = {**value, "directory": implementation.ledger.fresh_directory()}
            exchange = caller.exchange(Request.of(method.upper(), path, value))
            if exchange.answer.status != 400:
                raise Nonconformity("400", str(exchange.answer.status), exchange)
            if "Instance_id" not in exchange.answer.json["message"]:
                raise Nonconformity("Instance_id in message", repr(exchange.answer.json["message"]), exchange)
