"""What `kwargs` of createEnv may say: no code, and no path outside the results roots."""

from __future__ import annotations

import importlib.resources
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_http_server.errors import ForbiddenDirectoryError, InvalidValueError
from gym_http_server.results.kwargs import KwargsGuard
from gym_http_server.results.roots import Roots
from gym_http_server.runtime.messages import MSGPACK
from gym_http_server.runtime.values.packing import pack
from tests.conftest import KINDS, start
from tests.support.serving import Answer, Server


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KwargsGuard:
    """One whose only root is the directory `root` of the working directory, which has links that lead out of it."""
    for name in ("root/inside", "outside", "home"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root/out").symlink_to(tmp_path / "outside")
    (tmp_path / "root/circle").symlink_to(tmp_path / "root/circle")
    (tmp_path / "bare.xml").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "root/inside")
    (tmp_path / "dangling").symlink_to(tmp_path / "not-there")
    (tmp_path / "pair:of").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return KwargsGuard(Roots(("root",)), ("allowed_module", "old=module.of_an_interpreter:register"))


@pytest.mark.parametrize(
    "value",
    [
        "ant.xml",
        "4x4",
        "SFFF",
        "",
        "root/inside",
        "root/not/there/yet",
        "./root/x.xml",
        "root/inside/../x",
        "{}/root/x.xml",
        "file:{}/root/x.xml",
        "file://localhost{}/root/x.xml",
        "link",
        "ALE/Pong-v5",
        "allowed_module:Env-v0",
        "allowed_module:ALE/Env-v0",
        "module.of_an_interpreter:Env-v0",
        "a text: with words",
        "10:30",
        "no_such_module: with words",
        "...",
        "x" * 100_000,
        ["SFFF", "FHFH"],
        {"deep": [{"deeper": ["root/x"]}]},
        [1, 2.5, None, True],
    ],
)
def test_plain_values_and_paths_inside_the_roots_pass(guard: KwargsGuard, tmp_path: Path, value: Any) -> None:
    """Texts that name neither code nor a path are passed on, and so is what lies in a root."""
    guard.check({"argument": value.format(tmp_path) if isinstance(value, str) else value})


@pytest.mark.parametrize(
    "value",
    [
        "/etc/passwd",
        "/",
        ".",
        "..",
        "./x",
        "../x",
        "elsewhere/x.xml",
        "root/../x",
        "root/out/x",
        "root/out/../x",
        "root/x/../../../root/x",
        "x/../../secret.xml",
        "bare.xml",
        "dangling",
        "pair:of",
        "~",
        "~/x.xml",
        "~root/x",
        "~nobody_of_that_name",
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "file:///%65tc/passwd",
        "file://{}/root/../outside",
        "file:bare.xml",
        "file:",
        " file:///etc/passwd",
        "URL:file:///etc/passwd",
        "<URL:file:///etc/passwd>",
        "{}/rooted/x",
        "{}/root/../outside",
        "//etc/passwd",
        "/" * 5000,
    ],
)
@pytest.mark.parametrize("where", ["value", "list", "deep", "key"])
def test_a_path_outside_the_roots_is_refused_wherever_it_stands(
    guard: KwargsGuard, tmp_path: Path, value: str, where: str
) -> None:
    """As a value, in a list, deep below or as a key: the error names the argument, the roots and the option."""
    text = value.format(tmp_path)
    wrapped: Any = {"value": text, "list": ["x", text], "deep": {"a": [{"b": [text]}]}, "key": {text: 1}}[where]
    with pytest.raises(ForbiddenDirectoryError, match=r"'xml_file'.*--results-root") as caught:
        guard.check({"xml_file": wrapped})
    assert caught.value.facts == {"kwarg": "xml_file", "roots": [str(tmp_path / "root")]}


def test_the_name_of_an_argument_is_no_way_out_either(guard: KwargsGuard) -> None:
    """Names are held to the same rules as values."""
    with pytest.raises(ForbiddenDirectoryError):
        guard.check({"../x": 1})
    with pytest.raises(InvalidValueError):
        guard.check({"os:system": 1})


@pytest.mark.parametrize(
    "value",
    [
        "os:system",
        "tests.support.troublemakers:Troublemaker",
        "package:Env-v0",
        "package:ALE/Env-v0",
        "_x:y",
        "é:f",
        "os:0",
        "os:system ",
        " os:system",
        "os :system",
        "os:Foo-v0\n",
        "os:",
        "os::system",
        "os:system:x",
        "os.path:join()",
        "os.path:é",
        "os: with words",
        "os://host",
        "tests:_x[0]",
        "a-module:0",
        "a directory: of modules",
    ],
)
def test_code_is_refused_unless_its_module_was_named_at_the_start(guard: KwargsGuard, value: str) -> None:
    """`module:attribute` is a 400 that says how to allow the module, at any depth."""
    Path("a-module.py").write_text("")
    Path("a directory").mkdir()
    # A directory that a monitor makes is no way to have it taken for a path.
    Path("os:system").write_text("")
    for wrapped in (value, [value], {"a": {value: 1}}):
        with pytest.raises(InvalidValueError, match=r"cannot name code.*--import") as caught:
            guard.check({"argument": wrapped})
        assert caught.value.facts == {"kwarg": "argument"}


@pytest.mark.parametrize("value", ["http://127.0.0.1:8000/world", "https://127.0.0.1/a?b=c", "tcp://127.0.0.1:5555"])
def test_a_url_names_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Not even one of `http`, which is a module of Python's; as a path it lies below the working directory."""
    monkeypatch.chdir(tmp_path)
    KwargsGuard(Roots((str(tmp_path),))).check({"argument": value})


@pytest.mark.parametrize("value", ["root/a\0b", "root/circle/x", "/half\ud800", "file://[x/y", "~\0"])
def test_what_can_be_no_path_is_refused_in_words(guard: KwargsGuard, value: str) -> None:
    """NUL, half a character, links in a circle and broken URLs are a 400 or a 403, and never an error of ours."""
    with pytest.raises((InvalidValueError, ForbiddenDirectoryError)):
        guard.check({"argument": value})


def test_deep_and_wide_values_are_walked(guard: KwargsGuard) -> None:
    """A path is found below ten thousand lists, and among a hundred thousand texts."""
    deep: Any = "/etc/passwd"
    for _ in range(10_000):
        deep = [deep]
    for value in (deep, ["x"] * 100_000 + ["/etc/passwd"]):
        with pytest.raises(ForbiddenDirectoryError):
            guard.check({"argument": value})


@given(parts=st.lists(st.sampled_from(["root", "out", "inside", "..", ".", "", "outside", "~", "x"]), min_size=2))
def test_no_combination_of_parts_leads_outside(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    """Whatever passes is, opened from the working directory, below the root."""
    base = tmp_path_factory.getbasetemp() / "combinations"
    (base / "root/inside").mkdir(parents=True, exist_ok=True)
    (base / "outside").mkdir(exist_ok=True)
    if not (base / "root/out").is_symlink():
        (base / "root/out").symlink_to(base / "outside")
    before = Path.cwd()
    os.chdir(base)
    try:
        text = "/".join(parts)
        try:
            KwargsGuard(Roots(("root",))).check({"argument": text})
        except ForbiddenDirectoryError:
            return
        assert Path(text).resolve().is_relative_to(base / "root")
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a model of MuJoCo inside, and the same outside it, with a link to that."""
    base = tmp_path_factory.mktemp("models")
    (base / "root/models").mkdir(parents=True)
    (base / "outside").mkdir()
    asset = importlib.resources.files("gymnasium.envs.mujoco") / "assets" / "ant.xml"
    for each in ("root/models/mine.xml", "outside/mine.xml"):
        shutil.copy(str(asset), base / each)
    (base / "root/link.xml").symlink_to(base / "outside/mine.xml")
    return base / "root"


@pytest.fixture(scope="module", params=KINDS)
def rooted(request: pytest.FixtureRequest, root: Path) -> Iterator[Server]:
    """A server of each kind with that root alone."""
    with start(request.param, "--results-root", str(root)) as running:
        yield running


def make(server: Server, env_id: str, **kwargs: Any) -> Answer:
    answer = server.post("/v1/envs/", {"env_id": env_id, "kwargs": kwargs})
    if answer.status == 200:
        assert server.post(f"/v1/envs/{answer.json['instance_id']}/close/").status == 200
    return answer


def test_a_model_of_mujoco_is_read_from_a_root_and_from_nowhere_else(rooted: Server, root: Path) -> None:
    """`xml_file` may name the package's own model or one in a root; links and `..` that lead out are a 403."""
    inside = str(root / "models/mine.xml")
    for text in ("ant.xml", inside, f"{root}/models/../models/mine.xml", os.path.relpath(inside)):
        answer = make(rooted, "Ant-v5", xml_file=text)
        assert answer.status == 200, answer.body
    outside = str(root.parent / "outside/mine.xml")
    for text in (
        outside,
        str(root / "link.xml"),
        f"{root}/../outside/mine.xml",
        os.path.relpath(outside),
        "../../../../../../../../../../etc/passwd",
        "x/../../../../../../../../../../../../etc/passwd",
        "~/model.xml",
        f"file://{outside}",
        ".",
        "./README.md",
        "README.md",
    ):
        answer = make(rooted, "Ant-v5", xml_file=text)
        assert answer.status == 403, (text, answer.body)
        assert answer.json["type"].endswith(":forbidden-directory")
        assert "'xml_file'" in answer.message
        assert "--results-root" in answer.message
    assert rooted.get("/v1/envs/").json["envs"] == {}


def test_other_kwargs_pass_as_before(rooted: Server) -> None:
    """Maps and names of FrozenLake are no paths."""
    assert make(rooted, "FrozenLake-v1", desc=["SFF", "FHF", "FFG"]).status == 200
    assert make(rooted, "FrozenLake-v1", map_name="8x8").status == 200


@pytest.mark.parametrize("name", ["entry_point", "vector_entry_point", "additional_wrappers", "vector_kwargs"])
def test_kwargs_cannot_name_code(rooted: Server, name: str) -> None:
    """Neither a text that names code nor an argument that takes it reaches a library: both are a 400."""
    assert make(rooted, "CartPole-v1", **{name: []}).status == 400
    answer = make(rooted, "tests/Troublemaker-v0", construct="os:system")
    assert answer.status == 400
    assert "--import os" in answer.message
    assert make(rooted, "tests/Troublemaker-v0", construct="tests.support.troublemakers:no_such_action").status == 200


@pytest.mark.parametrize("num_envs", [None, 2])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("value", "status", "words"),
    [
        ("/etc/passwd", 403, "--results-root"),
        (["os:system"], 400, "options cannot name code"),
        ({"~root/x": 1}, 403, "--results-root"),
        (["plain", 1, None, "ALE/Pong-v5"], 200, ""),
    ],
)
def test_options_of_a_reset_are_held_to_the_same_rules(
    server: Server, num_envs: int | None, packed: bool, value: Any, status: int, words: str
) -> None:
    """Of a single environment and of a batch, in JSON and MessagePack, and on a connection that was handed over."""
    env = server.create("CartPole-v1", num_envs=num_envs, vectorization_mode="sync" if num_envs else "auto")
    path = f"{env}/batch/reset/" if num_envs else f"{env}/reset/"
    body = {"options": {"low": -0.01, "high": 0.01, "model": value}}
    sent, headers = (pack(body), {"Content-Type": MSGPACK}) if packed else (body, None)
    for _ in range(3):
        answer = server.post(path, sent, headers=headers)
        assert answer.status == status, answer.body
        if status != 200:
            assert words in answer.message
            assert "'model' of options" in answer.message or "in 'model'" in answer.message
    assert server.post(f"{env}/close/").status == 200


def test_bytes_are_held_to_the_rules_of_texts(guard: KwargsGuard) -> None:
    """The system takes them as a path as well."""
    with pytest.raises(ForbiddenDirectoryError):
        guard.check({"a": [b"/etc/passwd"]})


def test_there_is_a_limit_of_texts_to_look_up(guard: KwargsGuard) -> None:
    """Also of a path of megabytes, which takes hours to resolve."""
    for value, words in (
        ([f"w{index}" for index in range(10_001)], "10000 different texts"),
        ("a/" * (1 << 20), "8192 characters"),
    ):
        with pytest.raises((InvalidValueError, ForbiddenDirectoryError), match=words):
            guard.check({"a": value})
    guard.check({"a": [f"w{index}" for index in range(9_990)]})
