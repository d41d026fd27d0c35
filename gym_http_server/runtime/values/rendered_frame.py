"""Frames: what `render()` returns, as a picture or a text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ...errors import RenderFormatError, RenderModeError
from ...support.deferred import np
from ..messages import MSGPACK
from .encoding import msgpack_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

PNG, JPEG, TEXT = "image/png", "image/jpeg", "text/plain; charset=utf-8"

PICTURES = {"image/png": PNG, "image/jpeg": JPEG}


def encode_frame(frame: Any, mode: str, media_types: Sequence[str]) -> tuple[bytes, str]:
    """Encode a frame.

    Args:
        frame: what `render()` returned: an array of shape (height, width, 3) or (height, width, 4), of uint8 or what
            `as_uint8` makes it of, an array of shape (height, width), a text, or a list of frames of which the last counts.
        mode: the render mode.
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
    is_text = isinstance(frame, str)
    for media_type in media_types:
        if media_type == MSGPACK:
            return msgpack_bytes({"frame": packable(frame, mode)}), MSGPACK
        if is_text and media_type == "text/plain":
            return frame.encode("utf-8", "backslashreplace"), TEXT
        if not is_text and media_type in PICTURES:
            return _encode_picture(np.asarray(frame), mode, media_type), media_type
    if is_text:
        raise RenderFormatError(f"render mode {mode!r} gives text/plain or {MSGPACK}, and Accept allows neither")
    raise RenderFormatError(
        f"render mode {mode!r} gives image/png, image/jpeg or {MSGPACK}, and Accept allows none of them"
    )


def goes_packed(mode: str, media_types: Sequence[str]) -> bool:
    """Return whether MessagePack is the first of the media types that a frame of this render mode can be."""
    file_types = ("text/plain",) if mode.startswith("ansi") else tuple(PICTURES)
    return next((each for each in media_types if each == MSGPACK or each in file_types), None) == MSGPACK


def packable(frame: Any, mode: str) -> Any:
    """Return what a reply in MessagePack has of what `render()` gave: an array of uint8 or a text; None where there is none."""
    frame = latest(frame, mode)
    return frame if frame is None or isinstance(frame, str) else as_uint8(np.asarray(frame), mode)


def latest(frame: Any, mode: str) -> Any:
    """Return the frame that counts of what `render()` gave, a text as `str`; None where there is none."""
    if isinstance(frame, (list, tuple)) and frame and (isinstance(frame[0], str) or not np.isscalar(frame[0])):
        frame = frame[0] if mode.endswith("_tuple") else frame[-1]
    if isinstance(frame, (list, tuple)) and not frame:
        return None
    return frame.getvalue() if isinstance(frame, io.StringIO) else frame


def as_uint8(pixels: np.ndarray[Any, Any], mode: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return pixels of any real type as uint8, the same array where they are uint8 already.

    Of another type they are taken for what they most likely are, the same in every frame of an episode:

    - booleans are black and white;
    - integers of which none is outside 0 to 255 are those bytes;
    - real numbers of which none is outside 0 to 1 are fractions of white, as in Matplotlib, and others of which none is outside
      0 to 255 are rounded; what is not finite counts as 0;
    - everything else, and a `depth_array` whatever its values are, is stretched: its least value is black, its greatest white.

    Args:
        pixels: an array of any shape.
        mode: the render mode that gave it.
    """
    if pixels.dtype == np.uint8:
        return pixels
    kind, is_depth = pixels.dtype.kind, mode.startswith("depth")
    if kind == "b":
        shown = pixels * np.float64(255)
    elif kind in "iu" and not is_depth and _is_within(pixels, 255):
        shown = pixels
    else:
        shown = np.nan_to_num(pixels.astype(np.float64), posinf=0.0, neginf=0.0)
        if kind == "f" and not is_depth and _is_within(shown, 255):
            shown = np.rint(shown * 255 if _is_within(shown, 1) else shown)
        else:
            # A depth image has distances of any range: the nearest is drawn black and the farthest white.
            span = float(np.ptp(shown)) or 1.0
            shown = (shown - shown.min()) / span * 255
    as_bytes: np.ndarray[Any, np.dtype[np.uint8]] = shown.astype(np.uint8)
    return as_bytes


def _is_within(pixels: np.ndarray[Any, Any], greatest: int) -> bool:
    return bool(pixels.min() >= 0 and pixels.max() <= greatest)


def _encode_picture(pixels: np.ndarray[Any, Any], mode: str, media_type: str) -> bytes:
    from PIL import Image

    pixels = as_uint8(pixels, mode)
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
