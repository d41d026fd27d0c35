"""Videos of episodes: what is in the files, what is left of them when something goes wrong, and what they cost."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gym_http_server.errors import MissingDependencyError
from gym_http_server.runtime.recording import video, video_file

ROOT = Path(__file__).parents[4]

NAME = "openaigym.video.0.4711.video000007"

CLEAR = "\x1b[2J\x1b[1;1H"


def scene(number: int, height: int = 400, width: int = 600) -> np.ndarray:
    """A picture of smooth colours with a white block that moves."""
    row, column = np.mgrid[:height, :width]
    red, green = column * 255 / width, row * 255 / height
    picture = np.stack([red, green, np.full((height, width), 128.0)], axis=-1).astype(np.uint8)
    left = number * 4 % max(1, width - 40)
    picture[height // 2 : height // 2 + 40, left : left + 40] = 255
    return picture


def record(directory: Path, frames: list[Any], mode: str = "rgb_array", fps: float = 30) -> video_file.Video:
    """A closed video of the frames."""
    recorded = video.open_video(directory / NAME, mode, fps, 7)
    for frame in frames:
        recorded.add(frame)
    assert recorded.close()
    return recorded


def decode(path: Path) -> np.ndarray:
    """All frames of an MP4 in RGB."""
    with av.open(str(path), format="mp4") as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def psnr(seen: np.ndarray, meant: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; above 40 the eye sees no difference."""
    error = np.mean((seen.astype(float) - meant.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def boxes(path: Path) -> list[str]:
    """The names of an MP4's outermost boxes, in order."""
    data, names, at = path.read_bytes(), [], 0
    while at < len(data):
        names.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return names


def files(directory: Path) -> list[str]:
    """The names of a directory's files."""
    return sorted(path.name for path in directory.iterdir())


def run(program: str, *arguments: object) -> str:
    """What a program in a process of its own printed; it has to end well and without a word on its standard error."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# ---------------------------------------------------------------------------------------------------------- pictures


def test_pictures_become_an_mp4_of_h264_that_begins_with_its_index(tmp_path: Path) -> None:
    """Codec, pixel format, size, rate, length and colours are what a browser wants, and the frames are those added."""
    frames = [scene(number) for number in range(90)]
    recorded = record(tmp_path, frames)
    assert files(tmp_path) == [f"{NAME}.meta.json", f"{NAME}.mp4"]
    assert recorded.path == tmp_path / f"{NAME}.mp4"
    with av.open(str(recorded.path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames) == (600, 400, 90)
        assert stream.average_rate == 30
        assert stream.duration * stream.time_base == 3
        assert (stream.color_range, stream.colorspace, stream.color_primaries, stream.color_trc) == (1, 6, 1, 13)
        keys = [packet.pts * packet.time_base for packet in container.demux(stream) if packet.is_keyframe]
        assert max(np.diff([*keys, 3])) <= 2
    names = boxes(recorded.path)
    assert names.index("moov") < names.index("mdat")
    assert "moof" not in names
    assert psnr(decode(recorded.path), np.stack(frames)) > 38


def test_the_metadata_names_encoder_and_command(tmp_path: Path) -> None:
    """The metadata holds the episode, the media type, and a command of ffmpeg that would encode the same."""
    recorded = record(tmp_path, [scene(0, 7, 9)], fps=12.5)
    meta = json.loads(recorded.meta_path.read_text())
    assert recorded.meta_path == tmp_path / f"{NAME}.meta.json"
    assert meta.keys() == {"episode_id", "content_type", "encoder_version"}
    assert (meta["episode_id"], meta["content_type"]) == (7, "video/mp4")
    assert meta["encoder_version"].keys() == {"backend", "version", "cmdline"}
    assert meta["encoder_version"]["backend"] == "PyAV"
    assert av.__version__ in meta["encoder_version"]["version"]
    command = meta["encoder_version"]["cmdline"]
    assert (command[0], command[-1]) == ("ffmpeg", f"{NAME}.mp4")
    for option, value in {"-video_size": "9x7", "-framerate": "25/2", "-pixel_format": "rgb24"}.items():
        assert command[command.index(option) + 1] == value
    assert "pad=10:8,fillborders=right=1:bottom=1:mode=smear" in command[command.index("-vf") + 1]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([(), (1,), (3,), (4,)]), st.integers(0, 255))
@example(1, 1, (3,), 200)
@example(2, 1, (), 0)
@example(69, 70, (4,), 255)
def test_every_size_can_be_encoded(height: int, width: int, channels: tuple[int, ...], level: int) -> None:
    """An odd size is made even by the last row and column once more, which are of the picture's colour."""
    frame = np.full((height, width, *channels), level, np.uint8)
    with tempfile.TemporaryDirectory() as directory:
        seen = decode(record(Path(directory), [frame] * 3).path)
    assert seen.shape == (3, height + height % 2, width + width % 2, 3)
    assert np.abs(seen.astype(int) - level).max() <= 6


def test_an_odd_picture_keeps_its_place(tmp_path: Path) -> None:
    """The picture is neither moved nor scaled by what is added to its right and below."""
    frames = [scene(number, 201, 301) for number in range(10)]
    seen = decode(record(tmp_path, frames).path)
    assert psnr(seen[:, :201, :301], np.stack(frames)) > 35
    assert psnr(seen[:, 201], seen[:, 200]) > 30
    assert psnr(seen[:, :, 301], seen[:, :, 300]) > 30


GREY = scene(0, 64, 96)[:, :, 0]
RGB = scene(0, 64, 96)


@pytest.mark.parametrize(
    ("mode", "frame", "meant"),
    [
        ("rgb_array", GREY, np.stack([GREY] * 3, axis=-1)),
        ("rgb_array", GREY[:, :, np.newaxis], np.stack([GREY] * 3, axis=-1)),
        ("rgb_array", np.dstack([RGB, np.full((64, 96), 3, np.uint8)]), RGB),
        ("depth_array", GREY / 255 * 7.5 + 2, np.stack([GREY] * 3, axis=-1)),
        ("depth_array", np.where(GREY > 254, np.inf, 3.0).astype(np.float32), None),
        ("depth_array", np.full((64, 96), np.nan), np.zeros((64, 96, 3))),
        ("rgb_array", GREY > 100, np.stack([(GREY > 100) * 255] * 3, axis=-1)),
        ("rgb_array_list", [RGB * 0, RGB], RGB),
        ("rgbd_tuple", (RGB, GREY / 255), RGB),
        ("rgb_array", RGB[::-1, ::-1], RGB[::-1, ::-1]),
        ("rgb_array", np.asfortranarray(RGB), RGB),
        ("rgb_array", np.frombuffer(RGB.tobytes(), np.uint8).reshape(RGB.shape), RGB),
    ],
    ids=[
        "grey",
        "grey1",
        "rgba",
        "depth",
        "infinite",
        "nan",
        "bool",
        "list",
        "tuple",
        "flipped",
        "fortran",
        "readonly",
    ],
)
def test_every_kind_of_frame_can_be_encoded(tmp_path: Path, mode: str, frame: Any, meant: np.ndarray | None) -> None:
    """Grey is grey, alpha is dropped, depth is scaled, of a list the last frame counts, and the array's layout does not."""
    seen = decode(record(tmp_path, [frame] * 5, mode).path)
    assert seen.shape == (5, 64, 96, 3)
    if meant is not None:
        assert psnr(seen, np.stack([meant] * 5)) > 30


def test_a_frame_may_be_changed_once_it_is_added(tmp_path: Path) -> None:
    """An environment that draws into the same array each time gets the video of what it drew."""
    canvas, meant = np.zeros((64, 64, 3), np.uint8), []
    recorded = video.open_video(tmp_path / NAME, "rgb_array", 30, 7)
    for number in range(20):
        canvas[:] = number * 12
        meant.append(canvas.copy())
        recorded.add(canvas)
    canvas[:] = 0
    assert recorded.close()
    assert psnr(decode(recorded.path), np.stack(meant)) > 38


def test_a_frame_of_another_size_or_kind_is_fitted_to_the_first(tmp_path: Path) -> None:
    """A window that is resized in mid-episode goes on in the first frame's size, and grey may follow colour."""
    frames = [scene(0), scene(0, 200, 300), scene(0, 801, 1201), scene(0)[:, :, 0], scene(0)]
    seen = decode(record(tmp_path, frames).path)
    assert seen.shape == (5, 400, 600, 3)
    smooth = np.s_[:180, :]  # above the white block, which has another size in each
    for number in (0, 1, 2, 4):
        assert psnr(seen[number][smooth], frames[0][smooth]) > 33
    assert np.ptp(seen[3].astype(int), axis=-1).max() <= 12


@pytest.mark.parametrize(
    "frame",
    [
        None,
        [],
        "text",
        io.StringIO("text"),
        7,
        np.zeros(5, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), complex),
        np.full((4, 4, 3), None),
        [[[1, 2], [3]]],
    ],
    ids=lambda frame: f"{type(frame).__name__}-{getattr(frame, 'shape', '')}",
)
def test_what_is_no_picture_is_refused_and_the_video_goes_on(tmp_path: Path, frame: Any) -> None:
    """A frame that cannot be taken is an error that says so; the frames before and after it are in the video."""
    recorded = video.open_video(tmp_path / NAME, "rgb_array", 30, 7)
    with pytest.raises(video_file.VideoError, match="rgb_array"):
        recorded.add(frame)
    assert files(tmp_path) == []
    recorded.add(RGB)
    with pytest.raises(video_file.VideoError, match="rgb_array"):
        recorded.add(frame)
    recorded.add(RGB)
    assert recorded.close()
    assert len(decode(recorded.path)) == 2


def test_a_picture_too_large_for_the_encoder_is_refused(tmp_path: Path) -> None:
    """What x264 refuses is a VideoError, and leaves no file."""
    recorded = video.open_video(tmp_path / NAME, "rgb_array", 30, 7)
    with pytest.raises(video_file.VideoError, match=NAME):
        recorded.add(np.zeros((2, 20000), np.uint8))
    assert not recorded.close()
    assert files(tmp_path) == []


@pytest.mark.parametrize("directory", ["file:a b", "http:x", "ü%20&?#é", "a.b.c", "-x"])
def test_a_directory_may_have_any_name(tmp_path: Path, directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in a path is taken for a protocol, an option or a pattern, be it relative or absolute."""
    monkeypatch.chdir(tmp_path)
    Path(directory).mkdir()
    for where in (Path(directory), tmp_path / directory):
        for mode, frame in (("rgb_array", RGB), ("ansi", "x")):
            assert record(where, [frame], mode).path.exists()
    assert files(tmp_path / directory) == [f"{NAME}.json", f"{NAME}.meta.json", f"{NAME}.mp4"]


# -------------------------------------------------------------------------------------------------------- frame rate


@pytest.mark.parametrize(
    ("metadata", "fps"),
    [
        ({}, 30),
        ({"render_fps": 50}, 50),
        ({"video.frames_per_second": 50}, 50),
        ({"render_fps": 20, "video.frames_per_second": 50}, 20),
        ({"render_fps": None, "video.frames_per_second": 50}, 50),
        ({"render_fps": np.float32(12.5)}, 12.5),
        ({"render_fps": np.int64(4)}, 4),
        ({"render_fps": Fraction(30000, 1001)}, 30000 / 1001),
        ({"render_fps": 0.5}, 0.5),
        *(({"render_fps": wrong}, 30) for wrong in (0, -1, None, "50", "fast", True, [], {}, float("nan"))),
        *(({"render_fps": wrong}, 30) for wrong in (float("inf"), 1e-9, 1e9, 10**400, 1j, np.zeros(3))),
    ],
    ids=repr,
)
def test_the_frame_rate_is_the_environments(metadata: dict[str, Any], fps: float) -> None:
    """Gymnasium's key goes before gym's; what is no frame rate counts as none, which is 30."""
    assert video.frames_per_second(metadata) == fps
    assert type(video.frames_per_second(metadata)) is float


@settings(deadline=None, max_examples=25)
@given(st.floats(allow_nan=True, allow_infinity=True) | st.floats(0.01, 1000) | st.integers(1, 1000))
@example(29.97)
@example(30000 / 1001)
@example(0.01)
@example(1000)
@example(0)
def test_a_video_has_the_frame_rate_it_was_opened_with(fps: float) -> None:
    """Any rate can be recorded, whole or not, and the last frame is shown as long as the others."""
    with tempfile.TemporaryDirectory() as directory:
        recorded = record(Path(directory), [GREY] * 3, fps=fps)
        with av.open(str(recorded.path)) as container:
            stream = container.streams.video[0]
            meant = video.frames_per_second({"render_fps": fps})
            assert float(stream.average_rate) == pytest.approx(meant, rel=0.05 if meant < 0.1 else 1e-3)
            assert float(stream.duration * stream.time_base) == pytest.approx(3 / float(stream.average_rate), rel=1e-3)


# ------------------------------------------------------------------------------------------------------------- texts


def test_texts_become_an_asciicast_as_old_gym_wrote_it(tmp_path: Path) -> None:
    """The header is old Gym's, and each event clears the screen and shows a frame for half a second, colours and all."""
    frames = ["SFF\nFHF\n", io.StringIO("\x1b[41mS\x1b[0mFF\nF漢F\n"), "no newline", "a\r\nb\n", ""]
    recorded = record(tmp_path, frames, "ansi", fps=4)
    assert files(tmp_path) == [f"{NAME}.json", f"{NAME}.meta.json"]
    assert recorded.path == tmp_path / f"{NAME}.json"
    assert json.loads(recorded.path.read_text()) == {
        "version": 1,
        "width": len("no newline") + 2,
        "height": 3,
        "duration": 2.5,
        "command": "-",
        "title": "gym VideoRecorder episode",
        "env": {},
        "stdout": [
            [0.5, CLEAR + "SFF\r\nFHF\r\n"],
            [0.5, CLEAR + "\x1b[41mS\x1b[0mFF\r\nF漢F\r\n"],
            [0.5, CLEAR + "no newline\r\n"],
            [0.5, CLEAR + "a\r\nb\r\n"],
            [0.5, CLEAR + "\r\n"],
        ],
    }
    assert json.loads(recorded.meta_path.read_text()) == {
        "episode_id": 7,
        "content_type": "video/vnd.openai.ansivid",
        "encoder_version": {"backend": "TextEncoder", "version": 1},
    }


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 5), ("\x1b[1;31mabc\x1b[0m", 5), ("漢字", 6), ("é", 3), ("\x1b]0;title\x07ab", 4), ("", 2)],
)
def test_the_width_is_that_of_the_screen(tmp_path: Path, text: str, width: int) -> None:
    """Colours take no column and a wide character takes two."""
    assert json.loads(record(tmp_path, [text], "ansi").path.read_text())["width"] == width


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text(st.characters()), min_size=1, max_size=4))
@example(["\ud800", '"\\\u2028\x00\x1b['])
def test_every_text_can_be_recorded(texts: list[str]) -> None:
    """Whatever characters a frame has, the file is JSON in ASCII with one event for each frame."""
    with tempfile.TemporaryDirectory() as directory:
        data = json.loads(record(Path(directory), texts, "ansi").path.read_text("ascii"))
    assert len(data["stdout"]) == len(texts)
    for (_, shown), text in zip(data["stdout"], texts, strict=True):
        lines = text.encode("utf-8", "backslashreplace").decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
        assert shown == CLEAR + "".join(f"{line}\r\n" for line in lines)


def test_of_a_list_of_texts_the_last_counts(tmp_path: Path) -> None:
    """The render mode `ansi_list` gives texts too."""
    data = json.loads(record(tmp_path, [["a", "b"], ["a", "b", "c"]], "ansi_list").path.read_text())
    assert [shown for _, shown in data["stdout"]] == [CLEAR + "b\r\n", CLEAR + "c\r\n"]


@pytest.mark.parametrize("frame", [None, [], b"x", RGB, 7], ids=lambda frame: type(frame).__name__)
def test_what_is_no_text_is_refused(tmp_path: Path, frame: Any) -> None:
    """A frame that is no text is an error, and leaves no file."""
    recorded = video.open_video(tmp_path / NAME, "ansi", 30, 7)
    with pytest.raises(video_file.VideoError, match="not a text"):
        recorded.add(frame)
    assert not recorded.close()
    assert files(tmp_path) == []


# ----------------------------------------------------------------------------------------------------- end of a video


@pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
def test_a_video_without_a_frame_leaves_no_file(tmp_path: Path, mode: str) -> None:
    """Closing says that there is nothing, each time it is asked."""
    recorded = video.open_video(tmp_path / NAME, mode, 30, 7)
    assert not recorded.close()
    assert not recorded.close()
    recorded.discard()
    assert files(tmp_path) == []


@pytest.mark.parametrize(("mode", "frame"), [("rgb_array", RGB), ("ansi", "text")])
def test_a_closed_video_stays_as_it_is(tmp_path: Path, mode: str, frame: Any) -> None:
    """Closing twice is closing once, and a frame that comes later is refused."""
    recorded = record(tmp_path, [frame], mode)
    before = recorded.path.read_bytes()
    assert recorded.close()
    with pytest.raises(video_file.VideoError, match="closed"):
        recorded.add(frame)
    assert recorded.path.read_bytes() == before


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize(("mode", "frame"), [("rgb_array", RGB), ("ansi", "text")])
def test_a_discarded_video_leaves_no_file(tmp_path: Path, mode: str, frame: Any, closed: bool) -> None:
    """Discarding removes what is there, partial or complete, and only that; it may be done twice, and without files."""
    (tmp_path / "openaigym.video.0.4711.video000008.mp4").touch()
    recorded = video.open_video(tmp_path / NAME, mode, 30, 7)
    recorded.add(frame)
    if closed:
        recorded.close()
    recorded.discard()
    assert files(tmp_path) == ["openaigym.video.0.4711.video000008.mp4"]
    shutil.rmtree(tmp_path)
    recorded.discard()
    assert not recorded.close()
    with pytest.raises(video_file.VideoError, match="closed"):
        recorded.add(frame)


@pytest.mark.parametrize(("mode", "frame"), [("rgb_array", RGB), ("ansi", "text")])
def test_a_video_that_cannot_be_written_is_an_error(tmp_path: Path, mode: str, frame: Any) -> None:
    """A directory that is missing, or goes away, is a VideoError with the file's name."""
    recorded = video.open_video(tmp_path / "missing" / NAME, mode, 30, 7)
    with pytest.raises(video_file.VideoError, match=NAME):
        recorded.add(frame)
    (tmp_path / "missing").mkdir()
    recorded.add(frame)
    shutil.rmtree(tmp_path / "missing")
    with pytest.raises(video_file.VideoError, match=NAME):
        recorded.close()
    assert not recorded.close()
    recorded.discard()


def test_a_full_disk_is_an_error_and_discarding_cleans_up(tmp_path: Path) -> None:
    """Where nothing more can be written, the frame is refused, and nothing is said but by the exception."""
    program = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from gym_http_server.runtime.recording import video, video_file
        for mode in ("rgb_array", "ansi"):
            recorded = video.open_video(Path(sys.argv[1]), mode, 30, 7)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
            try:
                for number in range(200):
                    noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
                    recorded.add("x" * 1000 if mode == "ansi" else noise)
            except video_file.VideoError as error:
                print(error)
            try:
                print(recorded.close())
            except video_file.VideoError as error:
                print("closing", error)
            recorded.discard()
            del recorded
    """
    said = run(program, tmp_path / NAME)
    assert f"{NAME}.mp4 cannot be" in said
    assert f"{NAME}.json cannot be" in said
    assert files(tmp_path) == []


@pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
def test_what_a_killed_process_leaves_can_be_played(tmp_path: Path, mode: str) -> None:
    """The frames before the last are in the part file, and no file bears a complete video's name."""
    program = """
        import sys, time
        from pathlib import Path
        import numpy as np
        from gym_http_server.runtime.recording import video, video_file
        recorded = video.open_video(Path(sys.argv[1]), sys.argv[2], 30, 7)
        for number in range(50):
            recorded.add(f"frame {number}" if sys.argv[2] == "ansi" else np.full((65, 95, 3), number * 5, np.uint8))
        print("recorded", flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / NAME), mode]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"recorded\n"
        process.send_signal(signal.SIGKILL)
    suffix = "json" if mode == "ansi" else "mp4"
    assert files(tmp_path) == [f"{NAME}.{suffix}.part"]
    part = tmp_path / f"{NAME}.{suffix}.part"
    if mode == "ansi":
        header, *events = map(json.loads, part.read_text().splitlines())
        assert header == {"version": 2, "width": 9, "height": 2}
        assert events == [[(number + 1) / 2, "o", f"{CLEAR}frame {number}\r\n"] for number in range(50)]
    else:
        seen = decode(part)
        assert len(seen) == 49
        assert np.abs(seen.mean(axis=(1, 2, 3)) - np.arange(49) * 5).max() < 3


# ------------------------------------------------------------------------------------------------------- the encoder


def test_without_the_encoder_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures need PyAV; texts need nothing."""
    monkeypatch.setitem(sys.modules, "av", None)
    for mode in ("rgb_array", "rgb_array_list", "depth_array"):
        with pytest.raises(MissingDependencyError, match=r"python -m pip install 'av>=17\.1'$") as caught:
            video.require(mode)
        assert caught.value.facts == {"package": "av"}
        with pytest.raises(MissingDependencyError):
            video.open_video(tmp_path / NAME, mode, 30, 7)
    video.require("ansi")
    video.require("ansi_list")
    assert record(tmp_path, ["text"], "ansi").path.exists()


def test_an_encoder_without_h264_does_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PyAV that somebody built without libx264 is as good as none."""
    video.require("rgb_array")
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    with pytest.raises(MissingDependencyError, match="libx264"):
        video.require("rgb_array")


def test_the_encoder_is_loaded_when_a_video_needs_it(tmp_path: Path) -> None:
    """Neither importing the module nor recording texts loads PyAV."""
    program = """
        import sys
        from pathlib import Path
        from gym_http_server.runtime.recording import video, video_file
        recorded = video.open_video(Path(sys.argv[1]), "ansi", 30, 7)
        recorded.add("text")
        print(recorded.close(), "av" in sys.modules)
    """
    assert run(program, tmp_path / NAME) == "True False\n"


# -------------------------------------------------------------------------------------------------------------- cost


@pytest.mark.full
def test_a_long_episode_is_not_kept_in_memory(tmp_path: Path) -> None:
    """2,000 frames of 600x400, which are 1.4 GB, take less than 100 MB more than the first."""
    program = """
        import sys
        from pathlib import Path
        import numpy as np, psutil
        from gym_http_server.runtime.recording import video, video_file
        recorded, process, most = video.open_video(Path(sys.argv[1]), "rgb_array", 30, 7), psutil.Process(), 0
        frame = np.zeros((400, 600, 3), np.uint8)
        recorded.add(frame)
        first = process.memory_info().rss
        for number in range(1, 2000):
            frame[:] = np.arange(number, number + 600, dtype=np.uint16)[:, None] % 256
            recorded.add(frame)
            if number % 50 == 0:
                most = max(most, process.memory_info().rss)
        recorded.close()
        print((max(most, process.memory_info().rss) - first) / 1e6)
    """
    assert float(run(program, tmp_path / NAME)) < 100
    with av.open(str(tmp_path / f"{NAME}.mp4")) as container:
        assert container.streams.video[0].frames == 2000


def test_a_video_has_no_thread_and_leaves_no_descriptor(tmp_path: Path) -> None:
    """The encoder works in the caller's thread, and what it opened is closed with the video, discarded or not."""
    process = psutil.Process()
    record(tmp_path, [scene(0)])
    threads, descriptors = process.num_threads(), process.num_fds()
    for number in range(20):
        recorded = video.open_video(tmp_path / NAME, "rgb_array", 30, 7)
        recorded.add(scene(number))
        assert process.num_threads() == threads
        recorded.discard() if number % 2 else recorded.close()
    assert (process.num_threads(), process.num_fds()) == (threads, descriptors)


def test_processes_forked_before_and_after_the_encoder_was_loaded_can_record(tmp_path: Path) -> None:
    """An environment's process is a fork: it records whether or not the process it comes from ever did."""
    program = """
        import os, sys
        from pathlib import Path
        import numpy as np
        from gym_http_server.runtime.recording import video, video_file

        def record(name):
            recorded = video.open_video(Path(sys.argv[1]) / name, "rgb_array", 30, 7)
            for number in range(20):
                recorded.add(np.full((65, 95, 3), number, np.uint8))
            return recorded.close()

        def fork(*names):
            children = []
            for name in names:
                if not (child := os.fork()):
                    os._exit(0 if record(name) else 1)
                children.append(child)
            return [os.waitpid(child, 0)[1] for child in children]

        print(fork("a", "b"), "av" in sys.modules, record("c"), fork("d", "e"))
    """
    assert run(program, tmp_path) == "[0, 0] False True [0, 0]\n"
    for name in "abcde":
        assert len(decode(tmp_path / f"{name}.mp4")) == 20


# ----------------------------------------------------------------------------------------------------------- browser

PAGE = b"""<!doctype html><video id=v muted src=/video.mp4></video><script>
const v = document.getElementById("v"), say = facts => fetch("/result", {method: "POST", body: JSON.stringify(facts)});
const frameOf = time => new Promise(done => {
    const look = (_, {mediaTime}) => Math.abs(mediaTime - time) < 1 / 30 ? done() : v.requestVideoFrameCallback(look);
    v.requestVideoFrameCallback(look);
    v.currentTime = time;
});
const happens = name => new Promise(done => v.addEventListener(name, done, {once: true}));
const colour = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [v.videoWidth, v.videoHeight];
    const context = canvas.getContext("2d");
    context.drawImage(v, 0, 0);
    return [...context.getImageData(v.videoWidth / 2, v.videoHeight / 2, 1, 1).data];
};
v.onerror = () => say({error: v.error.message});
v.onloadeddata = async () => {
    const facts = {width: v.videoWidth, height: v.videoHeight, duration: v.duration, colours: []};
    for (const time of [2.55, 0.55, 1.55]) {
        await frameOf(time);  // "seeked" may come before the frame can be drawn
        facts.colours.push(colour());
    }
    const ended = happens("ended");
    await v.play();
    await ended;
    say({...facts, ended: v.ended, played: v.currentTime});
};
</script>"""


@contextlib.contextmanager
def served(content: dict[str, tuple[str, bytes]]) -> Iterator[tuple[str, queue.Queue[Any]]]:
    """The address of a server of the content, and the queue of what is posted to it."""
    posted: queue.Queue[Any] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            media_type, body = content.get(self.path, ("text/plain", b""))
            total, asked = len(body), re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            self.send_response(404 if self.path not in content else 206 if asked else 200)
            if asked:  # without it Chromium does not seek
                first, last = int(asked[1]), int(asked[2] or total - 1)
                body = body[first : last + 1]
                self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def do_POST(self) -> None:
            posted.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", posted
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.browser
def test_a_browser_plays_the_video_and_seeks_in_it(tmp_path: Path) -> None:
    """Chromium shows the size and the length, plays to the end, and finds the frame of a time in its own colour."""
    colours = [(200, 40, 60), (30, 160, 90), (50, 70, 210)]
    frames = [np.full((201, 301, 3), colour, np.uint8) for colour in colours for _ in range(30)]
    recorded = record(tmp_path, frames)
    content = {"/": ("text/html", PAGE), "/video.mp4": ("video/mp4", recorded.path.read_bytes())}
    chromium = shutil.which("chromium")
    assert chromium, "install Debian's package chromium"
    with served(content) as (address, posted):
        command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", address]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, start_new_session=True, **quiet) as browser:
            try:
                facts = posted.get(timeout=120)
            finally:
                os.killpg(browser.pid, signal.SIGKILL)
    assert "error" not in facts
    assert (facts["width"], facts["height"], facts["ended"]) == (302, 202, True)
    assert facts["duration"] == pytest.approx(3, abs=0.01)
    assert facts["played"] == pytest.approx(3, abs=0.05)
    for seen, number in zip(facts["colours"], (2, 0, 1), strict=True):
        assert np.abs(np.array(seen[:3]) - colours[number]).max() <= 6
