"""Frames: what `render()` returns, as a picture or a text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RenderFormatError, RenderModeError

if TYPE_CHECKING:
    from collections.abc import Sequence

PNG, JPEG, TEXT = "image/png", "image/jpeg", "text/plain; charset=utf-8"

PICTURES = {"image/png": PNG, "image/jpeg": JPEG}


def encode_frame(frame: Any, mode: str, media_types: Sequence[str]) -> tuple[bytes, str]:
    """Encode a frame.

    Args:
        frame: what `render()` returned: a uint8 array of shape (height, width, 3) or (height, width, 4), an array of
            shape (height, width), a text, or a list of frames of which the last counts.
        mode: the render mode, for messages.
        media_types: the media types that will do, the best first.

    Returns:
        The bytes and their media type.

    Raises:
        RenderModeError: there is no frame.
        RenderFormatError: none of the media types can be made of it.
    """
    frame = latest(frame, mode)
    if frame is None:
        raise RenderModeError(f"render mode {mode!r} gave no frame")
    if isinstance(frame, str):
        if "text/plain" not in media_types:
            raise RenderFormatError(f"render mode {mode!r} gives text/plain, and Accept does not allow it")
        return frame.encode("utf-8", "backslashreplace"), TEXT
    for media_type in media_types:
        if media_type in PICTURES:
            return _encode_picture(np.asarray(frame), media_type), media_type
    raise RenderFormatError(f"render mode {mode!r} gives image/png or image/jpeg, and Accept allows neither")


def latest(frame: Any, mode: str) -> Any:
    """Return the frame that counts of what `render()` gave, a text as `str`; None where there is none."""
    if isinstance(frame, (list, tuple)) and frame and (isinstance(frame[0], str) or not np.isscalar(frame[0])):
        frame = frame[0] if mode.endswith("_tuple") else frame[-1]
    if isinstance(frame, (list, tuple)) and not frame:
        return None
    return frame.getvalue() if isinstance(frame, io.StringIO) else frame


def as_uint8(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return pixels of any real type as uint8, the same array where they are uint8 already."""
    if pixels.dtype == np.uint8:
        return pixels
    # A depth image has distances of any range: the nearest is drawn black and the farthest white.
    finite = np.nan_to_num(pixels.astype(np.float64), posinf=0.0, neginf=0.0)
    span = float(np.ptp(finite)) or 1.0
    scaled: np.ndarray[Any, np.dtype[np.uint8]] = ((finite - finite.min()) / span * 255).astype(np.uint8)
    return scaled


def _encode_picture(pixels: np.ndarray[Any, Any], media_type: str) -> bytes:
    from PIL import Image

    pixels = as_uint8(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    out = io.BytesIO()
    if media_type == JPEG:
        image.convert("RGB").save(out, "JPEG", quality=90)
    else:
        # Level 1: a frame is made to be sent once; a smaller file costs more time here than it saves on the way.
        image.save(out, "PNG", compress_level=1)
    return out.getvalue()
