"""Choice of the video format for a render mode: MP4 for images, asciicast for texts, in the files of Gym's monitor.

Frames are written one by one to `<name>.part`, and the video gets its name when it is complete. A killed process leaves the
part file, a fragmented MP4 or an asciicast v2, which plays up to the last frame but one.
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

MIN_FPS, MAX_FPS = 0.01, 1000.0
"""Other frame rates are mistakes, and the time base of an MP4 cannot express them."""


def open_video(base: Path, mode: str, fps: float, episode_id: int) -> Video:
    """Return a video without frames; its files are made with the first frame.

    Args:
        base: the path without suffix, in an existing directory.
        mode: the render mode of the frames.
        fps: frames per second.
        episode_id: number of the episode, for the metadata.

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
    """Raise MissingDependencyError if the encoder for a render mode is not installed."""
    if _is_text(mode):
        return
    try:
        import av
    except ImportError as error:
        # A dependency, but some platforms have no build of it, and a system library may be missing.
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
    """Return the frame rate in an environment's metadata, or 30."""
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
    return math.isfinite(rate) and MIN_FPS <= rate <= MAX_FPS


def _is_text(mode: str) -> bool:
    return mode.removesuffix("_list") == "ansi"
