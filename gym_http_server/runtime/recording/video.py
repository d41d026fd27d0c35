"""Videos of episodes, in the files of old Gym's monitor: MP4 of pictures, asciicast of texts, each with its metadata.

An episode's frames go to disk one by one, into `<name>.part`; the video gets its name when it is complete. What a killed
process leaves is the part file, which plays up to the last frame but one: an MP4 in fragments, or an asciicast v2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...errors import MissingDependencyError
from ..making.dependencies import REQUIREMENTS, pip_command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .video_file import Video

DEFAULT_FPS = 30.0

SLOWEST, FASTEST = 0.01, 1000.0
"""Frames per second. Outside of these an environment did not mean it, and the time base of an MP4 cannot express it."""


def open_video(base: Path, mode: str, fps: float, episode_id: int) -> Video:
    """Return a video that has no frame, and no file, yet.

    Args:
        base: the path without suffix; the directory exists.
        mode: the render mode that the frames are of.
        fps: frames per second.
        episode_id: for the metadata.

    Raises:
        MissingDependencyError: the encoder is not installed.
    """
    require(mode)
    if _is_text(mode):
        from .asciicast import Asciicast

        return Asciicast(base, mode, episode_id)
    from .mp4 import Mp4

    return Mp4(base, mode, fps if _is_rate(fps) else DEFAULT_FPS, episode_id)


def require(mode: str) -> None:
    """Raise MissingDependencyError where the encoder for a render mode is not installed."""
    if _is_text(mode):
        return
    try:
        import av
    except ImportError as error:
        # It is a dependency, but a platform may have no build of it, or a library that it is linked to is gone.
        install = f"install it with: {pip_command(REQUIREMENTS['av'])}"
        raise MissingDependencyError(
            f"videos need PyAV, which cannot be loaded ({error}); {install}", package="av"
        ) from None
    if "libx264" not in av.codecs_available:
        raise MissingDependencyError(
            "videos need a PyAV with libx264, and the one installed was built without it; the wheels on PyPI have it: "
            + pip_command("--force-reinstall", "--only-binary=av", REQUIREMENTS["av"]),
            package="av",
        )


def frames_per_second(metadata: Mapping[str, Any]) -> float:
    """Return the frame rate that an environment's metadata names, 30 where it names none."""
    for key in ("render_fps", "video.frames_per_second"):
        if _is_rate(metadata.get(key)):
            return float(metadata[key])
    return DEFAULT_FPS


def _is_rate(value: Any) -> bool:
    if value is None or isinstance(value, (bool, str, bytes)):
        return False
    try:
        rate = float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return math.isfinite(rate) and SLOWEST <= rate <= FASTEST


def _is_text(mode: str) -> bool:
    return mode.removesuffix("_list") == "ansi"
