"""Recordings as monitors write them: this server's, and those of old Gym, byte for byte as its `json.dump` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGIN = 1500000000.0
"""A moment of 2017."""


def record(
    directory: Path,
    returns: Sequence[float] = (1.0, 2.0, 3.0),
    *,
    infix: str = "0.4711",
    env_id: str = "CartPole-v0",
    version: str = "gymnasium 1.4.0",
    begin: float = BEGIN,
    lengths: Sequence[int] | None = None,
    videos: Sequence[int] = (),
    types: Sequence[str] | None = (),
    **changed: Any,
) -> Path:
    """Write a recording whose episodes end a second after one another; `changed` members of the statistics last."""
    directory.mkdir(parents=True, exist_ok=True)
    stats = {
        "initial_reset_timestamp": begin if returns else None,
        "timestamps": [begin + 1.0 + index for index in range(len(returns))],
        "episode_lengths": list(lengths or [10] * len(returns)),
        "episode_rewards": list(returns),
        # Gym notes the type as an episode begins, so that of the one under way is there as well.
        "episode_types": ["t"] * (len(returns) + 1) if types == () else types,
        **changed,
    }
    if stats["episode_types"] is None:
        del stats["episode_types"]
    named = []
    for number in videos:
        base = f"openaigym.video.{infix}.video{number:06}"
        (directory / f"{base}.mp4").write_bytes(f"video {number} of {infix}".encode())
        (directory / f"{base}.meta.json").write_text(json.dumps({"episode_id": number, "content_type": "video/mp4"}))
        named.append((f"{base}.mp4", f"{base}.meta.json"))
    stats_name = f"openaigym.episode_batch.{infix}.stats.json"
    manifest = {"stats": stats_name, "videos": named, "env_info": {"gym_version": version, "env_id": env_id}}
    (directory / stats_name).write_text(json.dumps(stats))
    (directory / f"openaigym.manifest.{infix}.manifest.json").write_text(json.dumps(manifest))
    return directory
