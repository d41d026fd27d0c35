"""The environments that can be made: what the list says holds when they are made, and nothing that a module does spoils it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ale_py
import gymnasium
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_http_server.client import Client, ServerProblem
from gym_http_server.config import Settings
from gym_http_server.errors import InquiryFailedError
from gym_http_server.runtime.making.ids import registrations
from gym_http_server.runtime.making.sources.pettingzoo_ids import _MPE
from gym_http_server.runtime.registry import registry as registry_module
from gym_http_server.runtime.registry.registered import RegisteredEnv
from gym_http_server.runtime.registry.registry import Registry, matching
from tests.support.serving import Server, eventually, threads

pytestmark = pytest.mark.full

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""
"""A `sitecustomize` under which some packages are as good as not installed, in every process of a server."""


gymnasium.register_envs(ale_py)


def rows_of(server: Server, query: str = "") -> list[dict[str, Any]]:
    page = server.get(f"/v1/registry/?page_size=1000{query}").json
    assert page["total"] == len(page["environments"])
    return page["environments"]


def sample(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return all of the small ones, and one for each module of the others and each thing that they lack."""
    seen = set()
    for row in rows:
        entry_point = registrations(row["library"])[row["env_id"]].entry_point
        name = entry_point if isinstance(entry_point, str) else entry_point.__name__
        module = name.partition(":")[0]
        key = row["library"], module, row["missing_package"]
        if "classic_control" in module or "toy_text" in module or key not in seen:
            seen.add(key)
            yield row


@pytest.mark.parametrize(
    "missing",
    [
        (),
        ("pygame", "ale_py"),
        ("mujoco", "Box2D", "pygame", "jax", "ale_py", "cv2"),
    ],
    ids=lambda names: "-".join(names) or "none",
)
def test_what_is_installed_can_be_made_and_what_is_not_lacks_the_package_named(
    missing: tuple[str, ...], tmp_path: Path
) -> None:
    """createEnv makes what the list calls installed, and of all else it says the same package and reason."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(names=set(missing)))
    import_ale = () if "ale_py" in missing else ("--import", "ale_py")
    with Server(*import_ale, environment={"PYTHONPATH": str(tmp_path)}) as server:
        rows = rows_of(server)
        tried = list(sample(rows))
        for row in tried:
            answer = server.post("/v1/envs/", {"env_id": row["env_id"], "library": row["library"]})
            assert (answer.status == 200) is row["installed"], (row, answer.body)
            if row["installed"]:
                server.post(f"/v1/envs/{answer.json['instance_id']}/close/")
                assert row["missing_package"] is row["reason"] is None
            else:
                assert answer.json.get("package") == row["missing_package"]
                assert answer.message == row["reason"]
    assert len(tried) >= 50
    packages = {row["missing_package"] for row in rows}
    expected = {"mujoco": "gymnasium[mujoco]", "Box2D": "gymnasium[box2d]", "jax": "gymnasium[jax]"}
    assert {expected[name] for name in missing if name in expected} <= packages
    assert ("ALE/Pong-v5" in {row["env_id"] for row in rows}) is ("ale_py" not in missing)
    # Old MuJoCo's and those that moved away are never there.
    assert {"mujoco-py", "gymnasium-robotics[mujoco-py]", None} <= packages


@pytest.fixture(scope="module")
def everything() -> Iterator[Server]:
    with Server("--import", "ale_py", "--import", "tests.support.troublemakers") as running:
        yield running


def test_every_id_that_the_libraries_register_has_a_row(everything: Server) -> None:
    """There is one for each pair of id and library, in order, but for what no server serves."""
    rows = [(row["env_id"], row["library"]) for row in rows_of(everything)]
    assert rows == sorted(rows, key=lambda row: (row[0], row[1] != "gymnasium"))
    # The tests' own process may have registered more by now, under ids of its own.
    everywhere = {(env_id, name) for name in ("gymnasium", "gym") for env_id in registrations(name)}
    hidden = everywhere - set(rows)
    assert {env_id for env_id, _ in hidden if not env_id.startswith(("tests/", "ALE/"))} >= {
        "GymV21Environment-v0",
        "GymV26Environment-v0",
    }
    for env_id, library in hidden & set(OFFICIAL):
        answer = everything.post("/v1/envs/", {"env_id": env_id, "library": library})
        assert "malformed environment ID" in answer.message


OFFICIAL = [(env_id, "gymnasium") for env_id in gymnasium.registry] + [
    (env_id, "gym") for env_id in registrations("gym")
]


def test_a_row_tells_what_is_registered(everything: Server) -> None:
    """Steps, threshold, vector entry point, arguments and render modes are the specification's and the class's."""
    for row in rows_of(everything, "&library=gymnasium&q=cartpole"):
        specification = gymnasium.spec(row["env_id"])
        assert row["max_episode_steps"] == specification.max_episode_steps
        assert row["reward_threshold"] == specification.reward_threshold
        assert row["vector_entry_point"] == specification.vector_entry_point
    [row] = rows_of(everything, "&q=frozenlake-v1&library=gymnasium")
    assert row["kwargs"] == gymnasium.spec("FrozenLake-v1").kwargs == {"map_name": "4x4"}
    [row] = rows_of(everything, "&q=cartpole-v1&library=gym")
    assert (row["render_modes"], row["vector_entry_point"]) == (["human", "rgb_array"], None)
    [row] = rows_of(everything, "&q=tests/OwnBatch-v0")
    assert (row["installed"], row["vector_entry_point"]) == (True, "tests.support.troublemakers:OwnBatch")
    assert everything.post("/v1/envs/", {"env_id": row["env_id"], "num_envs": 2}).status == 200
    assert everything.post("/v1/envs/", {"env_id": row["env_id"]}).status == 400


def test_pages_and_filters_leave_nothing_out(everything: Server) -> None:
    """The pages together are the whole, the words of q are sought in any order and case, and total counts them."""
    whole = rows_of(everything)
    pages = [everything.get(f"/v1/registry/?page={n}&page_size=100").json for n in range(1, len(whole) // 100 + 3)]
    assert [row for page in pages for row in page["environments"]] == whole
    assert all(page["total"] == len(whole) for page in pages)
    assert pages[-1]["environments"] == []
    assert rows_of(everything, "&q=V5+ale/PONG") == [row for row in whole if row["env_id"] == "ALE/Pong-v5"]
    assert rows_of(everything, "&q=no+such+thing") == []
    assert {row["library"] for row in rows_of(everything, "&library=gym")} == {"gym"}
    for bad in ("library=dm_control", "page=0", "page_size=1001", f"q={'x' * 257}"):
        assert everything.get(f"/v1/registry/?{bad}").status == 400


def test_the_client_lists_it(everything: Server) -> None:
    """`list_registry` returns a page."""
    client = Client(everything.url)
    page = client.list_registry("cartpole v1", "gymnasium", page=1, page_size=1)
    assert (page["total"], page["environments"][0]["env_id"]) == (2, "CartPole-v1")
    assert client.list_registry(page_size=1)["total"] > 400
    with pytest.raises(ServerProblem, match="0 is less than the minimum"):
        client.list_registry(page_size=0)


ENVS = st.builds(
    RegisteredEnv,
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    st.sampled_from(["gymnasium", "gym"]),
    installed=st.booleans(),
    missing_package=st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
    reason=st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
    max_episode_steps=st.none() | st.integers(0, 2**63 - 1),
    reward_threshold=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    vector_entry_point=st.none() | st.just("a:B"),
    render_modes=st.none() | st.lists(st.text("abc"), max_size=3),
    kwargs=st.dictionaries(st.text("ab"), st.booleans() | st.lists(st.integers(0, 9)), max_size=2),
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800") | st.just("x" * 1001),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(ENVS)
def test_a_row_crosses_from_the_process_unchanged(row: RegisteredEnv) -> None:
    """It comes back from JSON as it was."""
    assert RegisteredEnv.from_json(json.loads(json.dumps(row.to_json()))) == row


@given(ENVS, st.sampled_from(sorted(RegisteredEnv.__dataclass_fields__)), JUNK)
def test_a_row_that_was_meddled_with_is_refused_or_harmless(row: RegisteredEnv, member: str, junk: Any) -> None:
    """Whatever a member is replaced with, the row is refused, or has a value that the contract allows there."""
    from gym_http_server.conformity.contract import validator

    try:
        found = RegisteredEnv.from_json({**row.to_json(), member: junk})
    except ValueError:
        return
    validator("components", "schemas", "RegisteredEnv").validate(json.loads(json.dumps(found.to_json())))
    json.dumps(found.to_json(), ensure_ascii=False, allow_nan=False).encode()


@given(st.lists(ENVS), st.text(max_size=10), st.sampled_from([None, "gym", "gymnasium"]))
def test_a_search_finds_what_has_every_word(rows: list[RegisteredEnv], q: str, library: str | None) -> None:
    """It keeps the order, and an id finds itself, whatever the case."""
    found = matching(rows, q, library)
    assert found == [each for each in rows if each in found]
    for each in rows:
        has = all(word in each.env_id.casefold() for word in q.casefold().split())
        assert (each in found) is (has and library in (None, each.library))
        assert each in matching(rows, each.env_id.casefold())


REGISTERS = """
import pathlib
import gymnasium
with pathlib.Path(__file__).with_name("imported").open("a") as file:
    file.write("x")
gymnasium.register("Custom-v1", "custom_inner:Env", max_episode_steps={steps}, reward_threshold={threshold})
"""


class Package:
    """A folder on the path with a module `custom` that registers an environment of the module `custom_inner`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("custom", REGISTERS.format(steps=7, threshold=1.5))
        self.write("custom_inner", "class Env: metadata = {'render_modes': ['ansi']}")

    def write(self, module: str, code: str) -> None:
        # Two versions of the same size within a second would have the same compiled file.
        (self.folder / f"{module}.py").write_text(code + "\n#" * (len(list(self.folder.iterdir())) + 1))

    @property
    def times_imported(self) -> int:
        path = self.folder / "imported"
        return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return Package(tmp_path)


def of(**options: Any) -> Registry:
    return Registry(Settings(imports=("custom",), **options))


def ask(registry: Registry) -> dict[str, RegisteredEnv]:
    return {each.env_id: each for each in registry.environments().result(60) if each.library == "gymnasium"}


def test_the_server_imports_nothing_of_it_and_asks_once(package: Package) -> None:
    """However many ask at once and later, one process has imported the modules, and this one has not."""
    registry = of()
    answers: list[Any] = []
    with threads(*[lambda: answers.append(ask(registry))] * 8):
        pass
    answers.append(ask(registry))
    assert len(answers) == 9
    assert all(each == answers[0] for each in answers)
    assert package.times_imported == 1
    assert not {"custom", "custom_inner"} & sys.modules.keys()
    row = answers[0]["Custom-v1"]
    assert (row.installed, row.max_episode_steps, row.reward_threshold, row.render_modes) == (True, 7, 1.5, ["ansi"])


def test_it_leaves_nothing_where_the_server_runs(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuJoCo, whose models are made for it, logs into the working directory."""
    directory = package.folder / "working"
    directory.mkdir()
    monkeypatch.chdir(directory)
    assert ask(of())["HalfCheetah-v5"].installed
    assert list(directory.iterdir()) == []


def test_an_installed_package_is_seen(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is asked again once a directory of packages has changed."""
    directory = package.folder / "site-packages"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    package.write("custom", 'import gymnasium; gymnasium.register("Custom-v1", "to_be_installed:Env")')
    registry = of()
    row = ask(registry)["Custom-v1"]
    assert (row.installed, row.missing_package) == (False, None)
    (directory / "to_be_installed.py").write_text("class Env: pass")
    os.utime(directory, ns=(1, 1))  # whatever the clock of the file system is
    assert ask(registry)["Custom-v1"].installed


@pytest.mark.parametrize(
    ("code", "package_name", "words"),
    [
        ("import no_such_thing_1", None, "no module named no_such_thing_1 on the server"),
        ("from gymnasium.error import DependencyNotInstalled as E; raise E('pip install it')", None, "pip install it"),
        ("raise RuntimeError('no licence')", None, "RuntimeError: no licence"),
        ("import sys; sys.exit('no display')", None, "SystemExit: no display"),
        ("Wrong = None", None, "AttributeError"),
        ("raise RuntimeError('\\ud800' + 'x' * 5000)", None, "RuntimeError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_row_that_says_why(
    package: Package, code: str, package_name: str | None, words: str
) -> None:
    """The others are listed all the same."""
    package.write("custom_inner", code)
    rows = ask(of())
    row = rows["Custom-v1"]
    assert (row.installed, row.missing_package, row.render_modes) == (False, package_name, None)
    assert words in str(row.reason)
    json.dumps(row.to_json(), ensure_ascii=False).encode()
    assert rows["CartPole-v1"].installed


@pytest.mark.parametrize(
    ("steps", "threshold"),
    [("True", "float('nan')"), ("-1", "10**400"), ("2.5", "'1'"), ("'many'", "[1]"), ("2**63", "float('inf')")],
)
def test_what_is_no_number_counts_as_none(package: Package, steps: str, threshold: str) -> None:
    """A package may register what it likes."""
    package.write("custom", REGISTERS.format(steps=steps, threshold=threshold))
    row = ask(of())["Custom-v1"]
    assert (row.max_episode_steps, row.reward_threshold) == (None, None)


def test_what_is_no_text_is_left_out_or_made_one(package: Package) -> None:
    """Ids that cannot be asked for have no row, and an entry point of any kind has a name."""
    package.write(
        "custom",
        """
import functools, gymnasium
class Entry:
    metadata = {"render_modes": ["a" * 5000, 3, "\\ud800"] + ["m"] * 500}
    __hash__ = None
    def __call__(self): pass
gymnasium.register("Odd-v0", Entry(), vector_entry_point=functools.partial(print))
for env_id in ("\\ud800-v0", "x" * 257, 5, ""):
    gymnasium.registry[env_id] = gymnasium.registry["Odd-v0"]
""",
    )
    rows = ask(of())
    assert set(rows) == {env_id for env_id, library in OFFICIAL if library == "gymnasium" and env_id in rows} | {
        "Odd-v0"
    }
    row = rows["Odd-v0"]
    assert row.installed
    assert row.vector_entry_point == "functools:partial"
    assert row.render_modes is not None
    assert row.render_modes[:3] == ["a" * 1000, "3", "?"]


def test_an_import_that_has_come_to_raise_is_told_and_not_kept(package: Package) -> None:
    """The error names the module and what to do; when it is mended, the next request finds so."""
    package.write("custom", "raise RuntimeError('no licence')")
    registry = of()
    with pytest.raises(InquiryFailedError, match=r"--import custom: RuntimeError: no licence: mend") as raised:
        ask(registry)
    assert raised.value.facts == {"module": "custom"}
    package.write("custom", REGISTERS.format(steps=7, threshold=1.5))
    assert "Custom-v1" in ask(registry)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os._exit(3)", "exit code 3"),
        ("import os; os._exit(0)", "exit code 0"),
        ("import os; os.abort()", "signal SIGABRT"),
    ],
)
@pytest.mark.parametrize("module", ["custom", "custom_inner"])
def test_a_module_that_ends_the_process_is_named(package: Package, module: str, code: str, words: str) -> None:
    """So is how it did, whether the server was told to import it or an environment is in it."""
    package.write(module, code)
    with pytest.raises(InquiryFailedError, match=words) as raised:
        ask(of())
    assert raised.value.facts == {"module": module}


@pytest.mark.parametrize(
    "code",
    [
        "print('noise'); import os; os.write(1, b'{\"answer\": []}' * 9); os.write(3, b'[]\\n'); raise RuntimeError('no')",
        "import sys; sys.stdin.read(); input()",
    ],
)
def test_what_a_module_writes_is_not_the_answer(package: Package, code: str) -> None:
    """Its stdout is not the process's, and its stdin is empty."""
    package.write("custom_inner", code)
    assert not ask(of())["Custom-v1"].installed


def test_an_answer_that_is_none_is_refused(package: Package) -> None:
    """What is read of a process in which third-party code ran is checked, and bounded."""
    forged = "import json, os\nfor fd in range(3, 30):\n try: os.write(fd, {line!r})\n except OSError: pass\n{end}"
    package.write("custom", forged.format(line=b'\n{"answer": [{"env_id": 5}]}\n', end="os._exit(0)"))
    with pytest.raises(InquiryFailedError, match="meddled"):
        ask(of())
    package.write("custom", forged.format(line=b"[" * 100_000, end="os._exit(0)"))
    with pytest.raises(InquiryFailedError, match="exit code 0"):
        ask(of())
    package.write("custom", forged.format(line=b"x" * (1 << 24), end="os._exit(0)"))
    with pytest.raises(InquiryFailedError, match="bytes"):
        ask(of())


HANGS = """
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)  # registry"])
pathlib.Path(__file__).with_name("hangs").touch()
time.sleep(3600)
"""


def of_the_hanging() -> list[psutil.Process]:
    def line(process: psutil.Process) -> str:
        try:
            return " ".join(process.cmdline())
        except psutil.Error:
            return ""

    return [each for each in psutil.process_iter() if "time.sleep(3600)  # registry" in line(each)]


def test_a_module_that_hangs_is_ended_in_time_and_named(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process goes with all that it started, and the error names the module and the setting."""
    monkeypatch.setattr(registry_module, "MIN_TIMEOUT_SECONDS", 1.0)
    package.write("custom", HANGS)
    begin = time.monotonic()
    with pytest.raises(InquiryFailedError, match=r"--import custom was not over after 5 s.*--call-timeout") as raised:
        ask(of(call_timeout=5.0))
    assert raised.value.facts == {"module": "custom"}
    assert time.monotonic() - begin < 30
    eventually(lambda: not of_the_hanging())


def test_stopping_ends_what_is_under_way(package: Package) -> None:
    """Whoever waits is told, no process is left, and none is started any more."""
    package.write("custom_inner", HANGS)
    registry = of()
    asked = registry.environments()
    eventually((package.folder / "hangs").exists)
    registry.stop()
    with pytest.raises(InquiryFailedError, match="stopping"):
        asked.result(30)
    eventually(lambda: not of_the_hanging())
    with pytest.raises(InquiryFailedError, match="stopping"):
        registry.environments().result(30)


OTHER_LIBRARIES = {
    "envpool.py": "def list_all_envs(): return ['CartPole-v1', 'dm_control/deep/walker']",
    "stable_retro.py": "raise ImportError('no core')",
    "safety_gymnasium.py": "import os; os._exit(4)",
    "dm_control.py": "",
    "shimmy.py": "import gymnasium; gymnasium.register('dm_control/hop-v0', 'envpool:list_all_envs')",
    "pettingzoo/__init__.py": "",
    "pettingzoo/classic/here_v1.py": "from tests.support.agent_envs import Leaving as parallel_env",
    "pettingzoo/classic/lacks_v1.py": "import multi_agent_ale_py",
    "pettingzoo-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pettingzoo\nVersion: 1.0",
    "flaky.py": "import pathlib; assert not pathlib.Path(__file__).with_name('broken').exists()",
}
"""Packages with ids of their own, in a folder; two of them fail, and a module of `--import` may come to do so."""


def test_libraries_with_ids_of_their_own_are_listed_each_by_a_process_of_its_own(tmp_path: Path) -> None:
    """Where their package is installed, as createEnv makes them; one that fails loses nobody's list, whichever it is."""
    folder = tmp_path / "site-packages"
    for name, code in OTHER_LIBRARIES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)
    with Server("--import", "flaky", environment={"PYTHONPATH": str(folder)}) as server:
        page = server.get("/v1/registry/?page_size=1000").json
        rows = [row for row in page["environments"] if row["library"] not in ("gymnasium", "gym")]
        assert [(row["env_id"], row["library"], row["missing_package"]) for row in rows] == [
            ("CartPole-v1", "envpool", None),
            ("classic/here_v1", "pettingzoo", None),
            ("classic/lacks_v1", "pettingzoo", "pettingzoo[atari]"),
            ("dm_control/deep/walker", "envpool", None),
            *((f"mpe/{name}", "pettingzoo", "mpe2") for name in sorted(_MPE)),
        ]
        assert [row["env_id"] for row in page["environments"]] == sorted(row["env_id"] for row in page["environments"])
        for row in rows:
            if row["library"] == "pettingzoo":
                made = server.post("/v1/envs/", {"env_id": row["env_id"], "library": "pettingzoo"})
                assert (made.status == 200, None if made.status == 200 else made.message) == (
                    row["installed"],
                    row["reason"],
                )
        states = {each["name"]: (each["state"], each["reason"]) for each in page["libraries"]}
        assert {name for name, state in states.items() if state == ("ready", None)} == {
            *("gymnasium", "dm_control", "envpool", "pettingzoo")
        }
        assert (
            "the import of stable_retro: ImportError: no core: mend that module, or uninstall"
            in states["stable-retro"][1]
        )
        assert "exit code 4" in states["safety-gymnasium"][1]
        only = server.get("/v1/registry/?q=control/hop&library=gymnasium").json
        assert [row["env_id"] for row in only["environments"]] == ["dm_control/hop-v0"]
        assert [each["name"] for each in only["libraries"]] == ["gymnasium", "dm_control"]
        (folder / "broken").touch()
        os.utime(folder, ns=(1, 1))  # whatever the clock of the file system is
        page = server.get("/v1/registry/").json
        assert {row["library"] for row in page["environments"] if row["env_id"][:3] != "dm_"} == {
            "envpool",
            "pettingzoo",
        }
        assert page["libraries"][0]["state"] == "failed"
        assert "--import flaky: AssertionError" in page["libraries"][0]["reason"]
        answer = server.get("/v1/registry/?library=gym")
        assert (answer.status, answer.json["module"]) == (502, "flaky")


def test_it_ends_with_a_process_that_was_killed(package: Package) -> None:
    """A server that is gone leaves no process that still imports."""
    package.write("custom", HANGS)
    code = (
        "from gym_http_server.runtime.registry.registry import Registry; from gym_http_server.config import Settings\n"
        "Registry(Settings(imports=('custom',))).environments().result()"
    )
    path = os.pathsep.join([str(package.folder), *sys.path])
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}) as process:
        eventually((package.folder / "hangs").exists)
        assert of_the_hanging()
        process.kill()
    eventually(lambda: not of_the_hanging())


def test_it_sees_no_secrets(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has the variables that an environment's has."""
    monkeypatch.setenv("GYM_HTTP_SERVER_API_KEY", "sesame")
    monkeypatch.setenv("HF_TOKEN", "sesame")
    monkeypatch.setenv("MY_TOKEN", "passed")
    package.write(
        "custom_inner", "import os; raise RuntimeError(sorted(n for n in os.environ if 'sesame' in os.environ[n]))"
    )
    assert "RuntimeError: []" in str(ask(of())["Custom-v1"].reason)
    package.write("custom_inner", "import os; raise RuntimeError(os.environ['MY_TOKEN'])")
    assert "RuntimeError: passed" in str(ask(of(pass_variable=("MY_TOKEN",)))["Custom-v1"].reason)


@pytest.mark.usefixtures("package")
def test_no_process_to_be_had_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors is not a defect."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(subprocess, "Popen", fail)
    with pytest.raises(InquiryFailedError, match="Too many open files"):
        ask(of())


@pytest.mark.parametrize("engine", ["process", "inline"])
def test_a_server_answers_502_for_a_module_that_hangs_and_stops_all_the_same(package: Package, engine: str) -> None:
    """Other requests are served meanwhile, and a stop waits no longer than its setting says."""
    package.write("custom_inner", HANGS)
    variables = {"PYTHONPATH": str(package.folder)}
    options = ("--engine", engine, "--import", "custom", "--shutdown-timeout", "1")
    with Server(*options, "--call-timeout", "1", environment=variables) as server:
        answers: list[Any] = []
        with threads(lambda: answers.append(server.get("/v1/registry/"))):
            eventually((package.folder / "hangs").exists)
            assert server.post("/v1/envs/", {"env_id": "CartPole-v1"}).status == 200
        [answer] = answers
        assert (answer.status, answer.json["module"]) == (502, "custom_inner")
        assert "--call-timeout" in answer.message
        assert answer.json["type"].endswith(":inquiry-failed")
    (package.folder / "hangs").unlink()
    with Server(*options, environment=variables) as server:
        thread = threading.Thread(target=_ignore(lambda: server.get("/v1/registry/")))
        thread.start()
        eventually((package.folder / "hangs").exists)
        begin = time.monotonic()
        server.kill(signal.SIGTERM)
        assert time.monotonic() - begin < 15
        assert server.process.returncode == 0
        thread.join(30)
    eventually(lambda: not of_the_hanging())


def _ignore(call: Any) -> Any:
    def ignoring() -> None:
        with contextlib.suppress(Exception):
            call()

    return ignoring


def test_a_failed_answer_is_not_kept_for_those_who_come_later(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who wait share the failure, and whoever comes after it has the libraries asked anew."""
    package.write("custom", "raise RuntimeError('no licence')")
    registry = of()
    first, second = registry.environments(), registry.environments()
    assert first is second
    assert first.exception(30) is not None
    assert registry.environments() is not first
    monkeypatch.setattr(registry_module, "_installed", lambda: (1,))
    rows = dataclasses.replace(RegisteredEnv("A-v0", "gym", installed=True), render_modes=[])
    assert matching([rows], "a") == [rows]
