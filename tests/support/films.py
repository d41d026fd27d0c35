"""A film that a browser plays."""

from __future__ import annotations

import io

import av
import numpy as np


def film(seconds=4, size=128):
    """Return an MP4 of noise, which takes many bytes."""
    noise = np.random.default_rng(0)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("h264", rate=25)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for _ in range(25 * seconds):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (size, size, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
