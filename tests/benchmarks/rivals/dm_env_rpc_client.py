"""The client of dm-env-rpc, stepping CartPole.

python -m tests.benchmarks.rivals.dm_env_rpc_client URL
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

from dm_env_rpc.v1.connection import create_secure_channel_and_connect
from dm_env_rpc.v1.dm_env_adaptor import create_and_join_world

from .client import work


def main() -> None:
    with create_secure_channel_and_connect(urlsplit(sys.argv[1]).netloc) as connection:
        env, _ = create_and_join_world(connection, {}, {})
        with env:
            env.reset()

            def after(step: Any) -> None:
                if step.last():
                    env.reset()

            work(lambda action: env.step({"action": action}), after)


if __name__ == "__main__":
    main()
