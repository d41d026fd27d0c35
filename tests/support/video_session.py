"""Films a batch with Gymnasium's RecordVideo of vector environments, which takes MoviePy: what a test runs by itself.

Usage: python -m tests.support.video_session URL DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium

from gym_http_server.client import RemoteVectorEnv


def main(url: str, directory: str) -> None:
    """Have one video written, of two lanes beside each other."""
    env = gymnasium.wrappers.vector.RecordVideo(
        RemoteVectorEnv(url, "CartPole-v1", 2), directory, video_length=5, disable_logger=True
    )
    env.reset(seed=0)
    for _ in range(8):
        env.step(env.action_space.sample())
    env.close()
    [video] = Path(directory).glob("*.mp4")
    assert video.stat().st_size > 1000


if __name__ == "__main__":
    main(*sys.argv[1:])
