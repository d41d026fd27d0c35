"""A server of dm-env-rpc (gRPC) with a CartPole environment, after the example of its documentation.

python -m tests.benchmarks.rivals.dm_env_rpc_server
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click
import grpc
import gymnasium
import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2 as messages
from dm_env_rpc.v1.dm_env_rpc_pb2_grpc import EnvironmentServicer, add_EnvironmentServicer_to_server
from dm_env_rpc.v1.spec_manager import SpecManager

SPECS = messages.ActionObservationSpecs(
    actions={1: messages.TensorSpec(name="action", dtype=messages.INT64)},
    observations={
        1: messages.TensorSpec(name="observation", dtype=messages.FLOAT, shape=[4]),
        2: messages.TensorSpec(name="reward", dtype=messages.FLOAT),
    },
)


class World:
    """An environment, for as long as a client's stream."""

    def __init__(self) -> None:
        self._env = gymnasium.make("CartPole-v1", disable_env_checker=True, render_mode="rgb_array")
        self._actions = SpecManager(SPECS.actions)
        self._observations = SpecManager(SPECS.observations)
        self._runs = False

    def reply(self, kind: str, request: Any) -> messages.EnvironmentResponse:
        """Return the response to a request."""
        match kind:
            case "create_world":
                response = messages.CreateWorldResponse(world_name="CartPole")
            case "join_world":
                response = messages.JoinWorldResponse(specs=SPECS)
            case "reset":
                self._runs = False
                response = messages.ResetResponse(specs=SPECS)
            case "step":
                response = self._step(request)
            case "leave_world":
                response = messages.LeaveWorldResponse()
            case _:
                response = messages.DestroyWorldResponse()
        return messages.EnvironmentResponse(**{kind: response})

    def _step(self, request: messages.StepRequest) -> messages.StepResponse:
        reward = 0.0
        if self._runs:
            action = int(self._actions.unpack(request.actions)["action"])
            observation, reward, terminated, truncated, _ = self._env.step(action)
            self._runs = not (terminated or truncated)
        else:
            # The protocol begins an episode by a step, whose action does not count.
            observation, _ = self._env.reset()
            self._runs = True
        packed = self._observations.pack({"observation": observation, "reward": np.float32(reward)})
        state = messages.RUNNING if self._runs else messages.TERMINATED
        return messages.StepResponse(
            state=state, observations={uid: packed[uid] for uid in request.requested_observations}
        )


class CartPoleService(EnvironmentServicer):
    """The service, with a world for each client."""

    def Process(  # noqa: N802 -- gRPC's name
        self,
        request_iterator: Iterator[messages.EnvironmentRequest],
        context: grpc.ServicerContext,  # noqa: ARG002 -- as above
    ) -> Iterator[messages.EnvironmentResponse]:
        world = World()
        for request in request_iterator:
            kind = request.WhichOneof("payload")
            yield world.reply(kind, getattr(request, kind))


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    add_EnvironmentServicer_to_server(CartPoleService(), server)
    port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
    server.start()
    click.echo(f"listening on http://127.0.0.1:{port}")
    server.wait_for_termination()


if __name__ == "__main__":
    main()
