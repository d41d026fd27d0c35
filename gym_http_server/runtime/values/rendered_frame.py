"""Frames of `render()`, encoded as an image, a text or MessagePack."""

from __future__ import annotations

import io
import reprlib
from typing import TYPE_CHECKING, Any

from ...errors import EnvironmentResultError, RenderFormatError, RenderModeError
from ...support.deferred import np
from ..messages import MSGPACK
from .encoding import msgpack_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

PNG, JPEG, TEXT = "image/png", "image/jpeg", "text/plain; charset=utf-8"
IMAGES = (PNG, JPEG)
MAX_CHANNELS = 4


def encode_frame(frame: Any, mode: str, media_types: Sequence[str]) -> tuple[bytes, str]:
    """Encode a frame.

    Args:
        frame: the result of `render()`: an array of shape (height, width), (height, width, 3) or (height, width, 4), of
            uint8 or a type that `as_uint8` converts, a text, or a list of frames, of which the last is encoded.
        mode: the render mode.
        media_types: the acceptable media types, the preferred first.

    Returns:
        The bytes and their media type.

    Raises:
        RenderModeError: there is no frame.
        EnvironmentResultError: it is something else.
        RenderFormatError: the frame has none of the media types.
    """
    frame = packable(frame, mode)
    if frame is None:
        raise RenderModeError(f"render mode {mode!r} gave no frame")
    is_text = isinstance(frame, str)
    is_picture = not is_text and (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] <= MAX_CHANNELS))
    for media_type in media_types:
        if media_type == MSGPACK:
            return msgpack_bytes({"frame": frame}), MSGPACK
        if is_text and media_type == "text/plain":
            return frame.encode("utf-8", "backslashreplace"), TEXT
        if is_picture and media_type in IMAGES:
            return _encode_image(frame, media_type), media_type
    if is_text:
        raise RenderFormatError(f"render mode {mode!r} gives text/plain or {MSGPACK}, and Accept allows neither")
    if not is_picture:
        raise RenderFormatError(
            f"render mode {mode!r} gave an array of shape {frame.shape}, which is no picture and comes as {MSGPACK}, and Accept "
            "does not allow that"
        )
    raise RenderFormatError(
        f"render mode {mode!r} gives image/png, image/jpeg or {MSGPACK}, and Accept allows none of them"
    )


def goes_packed(mode: str, media_types: Sequence[str]) -> bool:
    """Return whether MessagePack is the first of the media types that a frame of this render mode can have."""
    possible = (MSGPACK, "text/plain") if mode.startswith("ansi") else (MSGPACK, *IMAGES)
    return next((media_type for media_type in media_types if media_type in possible), None) == MSGPACK


def packable(frame: Any, mode: str) -> Any:
    """Return the frame for a MessagePack reply: an array of uint8, a text, or None if there is no frame.

    Raises:
        EnvironmentResultError: it is something else.
    """
    frame = latest(frame, mode)
    if frame is None or isinstance(frame, str):
        return frame
    try:
        pixels = np.asarray(frame)
    except (TypeError, ValueError):  # lists of different lengths
        pixels = np.empty(0)
    if pixels.dtype.kind not in "biuf" or pixels.ndim < 2 or not pixels.size:
        what = f"{type(frame).__name__} {reprlib.repr(frame)}"
        if isinstance(frame, np.ndarray):
            what = f"an array of shape {frame.shape} and type {frame.dtype}"
        raise EnvironmentResultError(
            f"what the environment's render returned cannot be served: render mode {mode!r} gave no frame but {what}; a frame is a "
            "text, or an array of numbers of shape (height, width), (height, width, 3) or (height, width, 4)"
        )
    return as_uint8(pixels, mode)


def latest(frame: Any, mode: str) -> Any:
    """Return the current frame of a result of `render()`, a text as `str`, or None if there is no frame."""
    if isinstance(frame, (list, tuple)) and frame and (isinstance(frame[0], str) or not np.isscalar(frame[0])):
        frame = frame[0] if mode.endswith("_tuple") else frame[-1]
    if isinstance(frame, (list, tuple)) and not frame:
        return None
    return frame.getvalue() if isinstance(frame, io.StringIO) else frame


def as_uint8(pixels: np.ndarray[Any, Any], mode: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return pixels of any real type as uint8; an array of uint8 is returned unchanged.

    - Booleans are black and white.
    - Integers from 0 to 255 are unchanged.
    - Floats from 0 to 1 are fractions of white, as in Matplotlib; floats from 0 to 255 are rounded. Infinities and NaN are 0.
    - Other values, and every `depth_array`, are scaled: the least value is black, the greatest white.

    Args:
        pixels: an array of any shape.
        mode: the render mode.
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
            span = float(np.ptp(shown)) or 1.0
            shown = (shown - shown.min()) / span * 255
    as_bytes: np.ndarray[Any, np.dtype[np.uint8]] = shown.astype(np.uint8)
    return as_bytes


def _is_within(pixels: np.ndarray[Any, Any], greatest: int) -> bool:
    return bool(pixels.min() >= 0 and pixels.max() <= greatest)


def _encode_image(pixels: np.ndarray[Any, Any], media_type: str) -> bytes:
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    out = io.BytesIO()
    if media_type == JPEG:
        image.convert("RGB").save(out, "JPEG", quality=90)
    else:
        # Level 1: compressing more costs more time than the smaller reply saves.
        image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def filmable(mode: str | None, modes: Sequence[str] | None) -> str:
    """Return the render mode if it gives frames.

    Args:
        mode: the render mode of an instance.
        modes: the render modes of its environment; None if they are unknown.

    Raises:
        RenderModeError: the mode is None or `human`.
    """
    if mode is None or mode == "human":
        why = "has no render mode" if mode is None else "shows a window (render mode 'human')"
        # Advise only modes that the environment declares.
        has = [each for each in modes or () if each.removesuffix("_list") in ("rgb_array", "ansi", "depth_array")]
        advice = f"create it with render_mode {' or '.join(map(repr, has))} for a frame"
        if modes is None:
            advice = "the environment does not say which render modes it has"
        elif not has:
            advice = "the environment has no render mode that gives a frame"
        raise RenderModeError(f"this instance {why}: {advice}")
    return mode
