"""Videos of image frames: H.264 in MP4, which every browser plays, encoded with PyAV.

PyAV instead of imageio-ffmpeg, because it encodes in this process: no second process to start, feed and reap for each
episode, and errors are exceptions. Its wheels (libx264 included, for Linux, macOS and Windows) are half as large.

Encoding uses the caller's thread: environments share the cores, and a fork would lose the encoder's threads. With preset
`veryfast` and tune `zerolatency` a frame of CartPole (600x400) takes 1.4 ms, half of it for the conversion to YUV, and 180
bytes. `ultrafast` saves a tenth of the time and doubles the file. Lookahead would make the file a third to a half smaller
and take a quarter more time, but would delay frames: without it, the frames before a crash are on disk.
"""

from __future__ import annotations

import contextlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from ..values.rendered_frame import as_uint8, latest
from .video_file import Video, VideoError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import OutputContainer
    from av.video.stream import VideoStream

PIXEL_FORMATS = {1: "gray", 3: "rgb24", 4: "rgba"}
"""FFmpeg's names, by the number of channels."""

OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "crf": "23"}

KEYFRAME_INTERVAL_SECONDS = 2
"""A browser seeks to key frames; x264's default, 250 frames, is eight seconds."""

BT601 = 6
"""AVCOL_SPC_SMPTE170M, which players assume for small videos if they do not read the metadata."""

FRAGMENTED = {"movflags": "frag_every_frame+empty_moov+default_base_moof", "flush_packets": "1"}
"""A fragment per frame: the file is remuxed anyway, and after a crash the last frames are wanted most."""


class Mp4(Video):
    """An MP4 of an episode; the arguments are those of `open_video`."""

    content_type = "video/mp4"

    def __init__(self, base: Path, mode: str, fps: float, episode_id: int) -> None:
        super().__init__(base, ".mp4", episode_id)
        self._mode = mode
        self._rate = Fraction(fps).limit_denominator(1001)  # 29.97 is 30000/1001
        self._encoder: _Encoder | None = None
        self._command: list[str] = []

    def _add(self, frame: Any) -> None:
        pixels = _pixels(latest(frame, self._mode), self._mode)
        with _encoding(self.path):
            if self._encoder is None:
                height, width, channels = pixels.shape
                self._encoder = _Encoder(self._part, _even(width), _even(height), self._rate)
                self._command = _command(self.path.name, width, height, PIXEL_FORMATS[channels], self._rate)
            self._encoder.add(pixels)

    def _finish(self) -> dict[str, Any] | None:
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return None
        with _encoding(self.path):
            encoder.close()
            _remux(self._part, self._final)
        version = f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"
        return {"backend": "PyAV", "version": version, "cmdline": self._command}

    def _abandon(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            with contextlib.suppress(av.FFmpegError, OSError, ValueError):
                encoder.close()


class _Encoder:
    """Writes frames of one size to a file. Width and height are even, as libx264 requires."""

    def __init__(self, path: Path, width: int, height: int, rate: Fraction) -> None:
        self._container = av.open(_url(path), "w", format="mp4", options=FRAGMENTED)
        try:
            self._stream = _add_stream(self._container, width, height, rate)
            self._container.start_encoding()
        except BaseException:
            self._container.close()
            path.unlink(missing_ok=True)
            raise
        self._time_base = 1 / rate
        self._canvas: av.VideoFrame | None = None
        self._reformatter = VideoReformatter()
        self._frames = 0

    def add(self, pixels: np.ndarray[Any, Any]) -> None:
        # Also scales later frames of another size to the size of the first.
        image = self._reformatter.reformat(
            self._paint(pixels),
            width=self._stream.width,
            height=self._stream.height,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        image.pts, image.duration, image.time_base = self._frames, 1, self._time_base
        # Before the write: times must increase, and the encoder has this one even if the disk refuses the frame.
        self._frames += 1
        self._container.mux(self._stream.encode(image))

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def _paint(self, pixels: np.ndarray[Any, Any]) -> av.VideoFrame:
        """Return the pixels as a frame of even size, repeating the last row or column."""
        height, width, channels = pixels.shape
        shape = (_even(height), _even(width), channels)
        canvas = self._canvas
        if canvas is None or (canvas.height, canvas.width, canvas.format.name) != (*shape[:2], PIXEL_FORMATS[channels]):
            canvas = self._canvas = av.VideoFrame(shape[1], shape[0], PIXEL_FORMATS[channels])
        plane = canvas.planes[0]
        strides = (plane.line_size, channels, 1)
        painted: np.ndarray[Any, Any] = np.ndarray(shape, np.uint8, memoryview(plane), strides=strides)
        painted[:height, :width] = pixels
        painted[:height, width:] = pixels[:, -1:]
        painted[height:] = painted[height - 1]
        return canvas


def _add_stream(container: OutputContainer, width: int, height: int, rate: Fraction) -> VideoStream:
    stream = container.add_stream("libx264", rate, OPTIONS, width=width, height=height, time_base=1 / rate)
    stream.gop_size = _gop_size(rate)
    context = stream.codec_context
    context.thread_count = 1
    context.colorspace = BT601
    context.color_range = ColorRange.MPEG
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.IEC61966_2_1
    return stream


def _gop_size(rate: Fraction) -> int:
    return min(250, max(10, round(KEYFRAME_INTERVAL_SECONDS * rate)))


def _even(length: int) -> int:
    return length + length % 2


def _pixels(frame: Any, mode: str) -> np.ndarray[Any, Any]:
    """Return a frame as uint8 of shape (height, width, channels)."""
    try:
        pixels = np.asarray(frame)
    except (TypeError, ValueError) as error:
        raise VideoError(f"render mode {mode!r} gave no picture: {error}") from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.dtype.kind not in "biuf" or pixels.ndim != 3 or pixels.shape[2] not in PIXEL_FORMATS or not pixels.size:
        raise VideoError(
            f"render mode {mode!r} gave {type(frame).__name__} of shape {pixels.shape} and type {pixels.dtype}; a picture "
            "is an array of numbers of shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4)"
        )
    return as_uint8(pixels, mode)


def _remux(part: Path, final: Path) -> None:
    """Copy the stream of the part file to a file with its index at the front, so that browsers start at once and seek."""
    with (
        av.open(_url(part), "r", format="mp4") as source,
        av.open(_url(final), "w", format="mp4", options={"movflags": "faststart"}) as target,
    ):
        encoded = source.streams.video[0]
        stream = target.add_stream_from_template(encoded)
        for packet in source.demux(encoded):
            if packet.dts is not None:
                packet.stream = stream
                target.mux_one(packet)


def _url(path: Path) -> str:
    # FFmpeg reads the part of a path before a colon as a protocol.
    return f"file:{path.absolute()}"


def _command(name: str, width: int, height: int, pixel_format: str, rate: Fraction) -> list[str]:
    """Return the ffmpeg command that encodes the same frames from standard input, for the metadata."""
    bottom, right = height % 2, width % 2
    pad = [f"pad={_even(width)}:{_even(height)}", f"fillborders=right={right}:bottom={bottom}:mode=smear"]
    filters = [*(pad if bottom or right else []), "scale=out_color_matrix=bt601:out_range=tv", "format=yuv420p"]
    return [
        *("ffmpeg", "-f", "rawvideo", "-pixel_format", pixel_format, "-video_size", f"{width}x{height}"),
        *("-framerate", str(rate), "-i", "-", "-vf", ",".join(filters)),
        *("-c:v", "libx264", *(word for option, value in OPTIONS.items() for word in (f"-{option}", value))),
        *("-g", str(_gop_size(rate)), "-threads", "1", "-colorspace", "smpte170m", "-color_range", "tv"),
        *("-color_primaries", "bt709", "-color_trc", "iec61966-2-1", "-movflags", "+faststart", name),
    ]


@contextlib.contextmanager
def _encoding(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise VideoError(f"the video {path.name} cannot be encoded: {error}") from error
