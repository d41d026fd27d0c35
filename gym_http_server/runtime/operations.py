"""The table of the contract's operations: what each is called on an instance, which kinds serve it, how it is counted."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["environment", "batch"]


class Operation(NamedTuple):
    """An operation of the contract.

    Attributes:
        operation_id: its operationId.
        call: the method of an instance that serves it, also its name in messages to people; empty where none is called.
        kind: the kind of instance that has the method; None for both.
        instead: advice for a client that asks it of the other kind.
        is_hot: it is part of a training loop (`x-hot-path`); counted for each instance by itself.
        is_keyed: it takes an Idempotency-Key.
        is_held: it is refused while somebody else holds the instance, and takes an Instance-Hold.
    """

    operation_id: str
    call: str = ""
    kind: Kind | None = None
    instead: str = ""
    is_hot: bool = False
    is_keyed: bool = False
    is_held: bool = False

    @property
    def handler(self) -> str:
        """The method of a handler class that serves it: its operationId in snake_case."""
        return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", self.operation_id)


OPERATIONS: Final = (
    Operation("createEnv", is_keyed=True),
    Operation("listEnvs"),
    Operation("getEnv"),
    Operation("updateEnv"),
    Operation("renewLeases"),
    Operation("deleteEnv", "claim", is_keyed=True),
    Operation("closeEnv", "claim", is_keyed=True),
    Operation("resetEnv", "reset", "environment", "use resetBatch", is_hot=True, is_keyed=True, is_held=True),
    Operation("stepEnv", "step", "environment", "use stepBatch", is_hot=True, is_keyed=True, is_held=True),
    Operation("rollout", "rollout", "environment", "use stepBatch", is_hot=True, is_keyed=True, is_held=True),
    Operation("resetBatch", "batch_reset", "batch", "use resetEnv", is_hot=True, is_keyed=True, is_held=True),
    Operation("stepBatch", "batch_step", "batch", "use stepEnv", is_hot=True, is_keyed=True, is_held=True),
    Operation("holdEnv", "hold"),
    Operation("releaseEnv", "release"),
    Operation("getControls", "controls", "environment", "make a single environment to play it"),
    Operation("renderEnv", "render"),
    Operation("getLive", "live"),
    Operation("getTransitions", "transitions", "environment", "create a single environment for its tabular model"),
    Operation("createSnapshot", "snapshot_create", is_hot=True, is_keyed=True, is_held=True),
    Operation("listSnapshots", "snapshot_list"),
    Operation("restoreSnapshot", "snapshot_restore", is_hot=True, is_held=True),
    Operation("deleteSnapshot", "snapshot_delete", is_hot=True),
    Operation("getActionSpace", "spaces"),
    Operation("getObservationSpace", "spaces"),
    Operation("sampleSpace", "sample_space"),
    Operation("sampleAction", "sample", is_hot=True),
    Operation("actionSpaceContainsValue", "contains_action", is_hot=True),
    Operation("actionSpaceContains", "contains_action", is_hot=True),
    Operation("observationSpaceContains", "contains_observation", is_hot=True),
    Operation("startMonitor", "monitor_start", is_held=True),
    Operation("closeMonitor", "monitor_close", is_held=True),
    Operation("getMonitor", "monitor"),
    Operation("uploadRecording"),
    Operation("listEvaluations"),
    Operation("getEvaluation"),
    Operation("downloadEvaluation"),
    Operation("downloadDataset"),
    Operation("verifyEvaluation"),
    Operation("getVerification"),
    Operation("getEpisode"),
    Operation("getEpisodeFrame"),
    Operation("listRecordings"),
    Operation("getRecording"),
    Operation("getRecordedEpisode"),
    Operation("getRecordedFrame"),
    Operation("downloadRecording"),
    Operation("downloadRecordedDataset"),
    Operation("listRegistry"),
    Operation("getOpenenvHealth"),
    Operation("getOpenenvMetadata"),
    Operation("getOpenenvSchema"),
    Operation("getOpenenvState"),
    Operation("resetOpenenv"),
    Operation("stepOpenenv"),
    Operation("callOpenenvMcp"),
    Operation("getOpenenvDocument"),
    Operation("getHealth"),
    Operation("getMetrics"),
    Operation("shutdownServer"),
)
"""Every operation of the contract; a test compares this table with the document."""

KEYED: Final = frozenset(operation.operation_id for operation in OPERATIONS if operation.is_keyed)
"""The operationIds of operations that take an Idempotency-Key."""

TAKES_HOLD: Final = frozenset(
    operation.operation_id for operation in OPERATIONS if operation.is_held or operation.call in ("hold", "release")
)
"""The operationIds of operations that take an Instance-Hold."""

HELD: Final = frozenset(operation.call for operation in OPERATIONS if operation.is_held)
"""The calls of an instance that are refused while somebody else holds it."""

HOT: Final = tuple(operation.operation_id for operation in OPERATIONS if operation.is_hot)
"""The operationIds of operations that are counted for each instance."""

CALLS: Final = {operation.call: operation for operation in OPERATIONS if operation.call}
"""An operation for each method of an instance."""
