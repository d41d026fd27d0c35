"""Records a data set of a remote environment with Minari, and makes its environment again: what a test runs by itself.

Usage: python -m tests.support.minari_session URL; the API key is `s3cret`, and MINARI_DATASETS_PATH an empty directory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import minari
import numpy as np

from gym_http_server.client import RemoteEnv


def main(url: str) -> None:
    """Hold the data set against what was observed, and its files against the key."""
    env = minari.DataCollector(RemoteEnv(url, "CartPole-v1", api_key="s3cret"))
    seen = [env.reset(seed=1)[0], *(env.step(0)[0] for _ in range(5))]
    data_set = env.create_dataset("tests/remote-v0")
    env.close()
    assert np.array_equal(data_set[0].observations, seen)
    files = [each for each in Path(os.environ["MINARI_DATASETS_PATH"]).rglob("*") if each.is_file()]
    assert {"metadata.json"} < {each.name for each in files}
    assert not [each for each in files if b"s3cret" in each.read_bytes()]
    os.environ["GYM_HTTP_SERVER_API_KEY"] = "s3cret"
    with data_set.recover_environment() as again:
        assert isinstance(again.unwrapped, RemoteEnv)
        assert np.array_equal(again.reset(seed=1)[0], seen[0])


if __name__ == "__main__":
    main(sys.argv[1])
