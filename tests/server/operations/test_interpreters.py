"""Environments in other Pythons: two versions of one package behind one server, chosen by name, and listed by name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from gym_http_server.client import Client, RemoteEnv, RemoteVectorEnv, ServerProblem
from tests.conftest import start
from tests.support.pythons import make_python
from tests.support.serving import Server


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The options of a server with two interpreters, and a third that does not start."""
    folder = tmp_path_factory.mktemp("pythons")
    named = {
        "one": make_python(folder / "one", "1.0", "OnlyOne-v0"),
        "two": make_python(folder / "two", "2.0"),
        "broken": "/bin/sh -c 'echo this Python is broken >&2; exit 3'",
    }
    options = [word for name, command in named.items() for word in ("--interpreter", f"{name}={command}")]
    modules = ("--interpreter-import", "one=clash", "--interpreter-import", "two=clash")
    return (*options, *modules, "--interpreter-fork", "two")


@pytest.fixture(scope="module")
def server(options: tuple[str, ...]) -> Iterator[Server]:
    with start("handover", *options) as running:
        yield running


def version_of(server: Server, path: str) -> str:
    """Return the version of `clash` in an instance's process, by its infos."""
    assert server.post(f"{path}/reset/", {"seed": 1}).status == 200
    return server.post(f"{path}/step/", {"action": 2}).json["info"]["version"]


def refusal(server: Server, **body: Any) -> dict[str, Any]:
    answer = server.post("/v1/envs/", body)
    assert answer.status == 400, answer.body
    return answer.json


def check_that_versions_live_together(server: Server) -> None:
    paths = {name: server.create("Clash-v0", interpreter=name) for name in ("one", "two")}
    assert {name: version_of(server, path) for name, path in paths.items()} == {"one": "1.0", "two": "2.0"}
    batch = server.create("Clash-v0", interpreter="two", num_envs=2)
    assert server.post(f"{batch}/batch/reset/").json["infos"]["version"] == ["2.0", "2.0"]
    for path in (*paths.values(), batch):
        assert server.request("DELETE", f"{path}/").status == 200


def test_two_versions_of_one_package_live_behind_one_server(server: Server) -> None:
    """Each interpreter has its own, at the same time, in single environments and batches."""
    check_that_versions_live_together(server)


@pytest.mark.full
def test_interpreters_run_beside_the_inline_engine(options: tuple[str, ...]) -> None:
    """Their guests are processes all the same."""
    with start("inline", *options) as inline:
        check_that_versions_live_together(inline)


def test_an_instance_tells_its_interpreter(server: Server) -> None:
    """In the reply of its creation, its description and the list; one in the server's own Python has none."""
    created = server.post("/v1/envs/", {"env_id": "Clash-v0", "interpreter": "one"}).json
    own = server.post("/v1/envs/", {"env_id": "CartPole-v1"}).json
    assert created["interpreter"] == "one"
    assert own.keys() == {"instance_id", "env_id", "library"}
    paths = [f"/v1/envs/{each['instance_id']}/" for each in (created, own)]
    assert [server.get(path).json["interpreter"] for path in paths] == ["one", None]
    assert server.get("/v1/envs/").json["interpreters"] == {created["instance_id"]: "one"}
    home = server.get("/", headers={"Accept": "text/html"}, check=False).body.decode()
    assert re.search(r"gymnasium .* in one</td>", home)
    for path in paths:
        server.request("DELETE", path)


def test_an_interpreter_that_may_be_forked_imports_its_modules_once(server: Server) -> None:
    """The other one imports them for each instance."""

    def importers(name: str) -> set[int]:
        paths = [server.create("Clash-v0", interpreter=name) for _ in range(2)]
        pids = {server.post(f"{path}/reset/").json["info"]["imported_by"] for path in paths}
        for path in paths:
            server.request("DELETE", f"{path}/")
        return pids

    assert (len(importers("one")), len(importers("two"))) == (2, 1)


def test_an_id_that_only_one_interpreter_has_needs_no_choice(server: Server) -> None:
    """It is made there, a null as interpreter being no choice; an idempotent repetition is the same instance."""
    headers = {"Idempotency-Key": "only-one"}
    first, again = (
        server.post("/v1/envs/", {"env_id": "OnlyOne-v0", "interpreter": None}, headers=headers).json for _ in range(2)
    )
    assert first == again
    assert first["interpreter"] == "one"
    path = f"/v1/envs/{first['instance_id']}"
    assert version_of(server, path) == "1.0"
    server.request("DELETE", f"{path}/")


def test_an_id_of_the_servers_own_python_is_made_by_it_unless_another_is_named(server: Server) -> None:
    """All three register CartPole."""
    made = {name: server.create("CartPole-v1", interpreter=name) for name in (None, "two")}
    assert [server.get(f"{path}/").json["interpreter"] for path in made.values()] == [None, "two"]
    for path in made.values():
        assert server.request("DELETE", f"{path}/").status == 200


def test_an_id_that_several_interpreters_have_is_to_be_chosen(server: Server) -> None:
    """The refusal names them, in its text and as a member."""
    problem = refusal(server, env_id="Clash-v0")
    assert problem["interpreters"] == ["one", "two"]
    assert "Clash-v0 is registered in several interpreters, one, two: name one" in problem["message"]


def test_an_unknown_name_of_an_interpreter_is_answered_with_the_names(server: Server) -> None:
    """Clients name no commands and no packages: a command is an unknown name like any other."""
    for name in ("three", "self", sys.executable):
        problem = refusal(server, env_id="Clash-v0", interpreter=name[:64])
        assert problem["type"] == "urn:gym-http-server:problem:interpreter-choice"
        assert problem["interpreters"] == ["one", "two", "broken"]
    answer = server.get("/v1/registry/?interpreter=three")
    assert answer.status == 400
    assert "this server has one, two, broken" in answer.message


def test_an_id_that_is_nowhere_is_answered_with_who_was_asked(server: Server) -> None:
    """The server's own words come first, and an interpreter that cannot be asked is told with its last words."""
    message = refusal(server, env_id="Clush-v0")["message"]
    assert message.startswith("Attempted to look up malformed environment ID 'Clush-v0'")
    assert re.search(r"nor has an interpreter such an id: one, two, broken \(.*this Python is broken", message)


def test_a_refusal_of_an_interpreter_names_it(server: Server) -> None:
    """Whether it has not the id, or does not start."""
    for name, env_id in (("two", "OnlyOne-v0"), ("broken", "CartPole-v1")):
        answer = server.post("/v1/envs/", {"env_id": env_id, "interpreter": name})
        assert answer.status in (400, 502)
        assert answer.json["interpreter"] == name
        assert f"interpreter {name!r}" in answer.message


def test_the_registry_lists_ids_by_interpreter(server: Server) -> None:
    """All of them, or those of one, and an interpreter that fails loses nobody's list."""
    page = server.get("/v1/registry/?q=clash").json
    assert [(each["env_id"], each["interpreter"]) for each in page["environments"]] == [
        ("Clash-v0", "one"),
        ("Clash-v0", "two"),
    ]
    assert page["environments"][0]["max_episode_steps"] == 10
    states = {each["name"]: each for each in page["interpreters"]}
    assert [states[name]["state"] for name in ("one", "two", "broken")] == ["ready", "ready", "failed"]
    assert "this Python is broken" in states["broken"]["reason"]
    only = server.get("/v1/registry/?q=only&interpreter=one").json
    assert [each["env_id"] for each in only["environments"]] == ["OnlyOne-v0"]
    assert [each["name"] for each in only["interpreters"]] == ["one"]
    cartpoles = server.get("/v1/registry/?q=cartpole-v1&library=gymnasium").json["environments"]
    names = [each["interpreter"] for each in cartpoles if each["env_id"] == "CartPole-v1"]
    assert names == [None, "one", "two"]
    none = server.get("/v1/registry/?interpreter=broken").json
    assert (none["total"], none["interpreters"][0]["state"]) == (0, "failed")


def test_the_page_of_environments_shows_and_filters_by_interpreter(server: Server) -> None:
    """And says which interpreter cannot be asked."""
    page = server.get("/environments?q=clash", headers={"Accept": "text/html"}, check=False).body.decode()
    assert page.count("<small>in one</small>") == page.count("<small>in two</small>") == 1
    assert "Interpreter <code>broken</code>" in page
    page = server.get("/environments?q=clash&interpreter=two", check=False).body.decode()
    assert "<option selected>two</option>" in page
    assert "<small>in one</small>" not in page


def test_the_client_names_an_interpreter(server: Server) -> None:
    """`Client`, `RemoteEnv`, `RemoteVectorEnv`, and `gymnasium.make`, whose spec makes the same once more."""
    with Client(server.url) as client:
        created = client.create_env("Clash-v0", interpreter="two")
        assert client.get_env(created["instance_id"])["interpreter"] == "two"
        client.close_env(created["instance_id"])
        assert [each["env_id"] for each in client.list_registry("only", interpreter="one")["environments"]] == [
            "OnlyOne-v0"
        ]
        with pytest.raises(ServerProblem, match="no interpreter is named 'three'"):
            client.create_env("Clash-v0", interpreter="three")
    env = RemoteEnv(server.url, "Clash-v0", interpreter="one")
    assert env.reset(seed=1)[1]["version"] == "1.0"
    env.close()
    lanes = RemoteVectorEnv(server.url, "Clash-v0", 2, interpreter="two")
    assert list(lanes.reset(seed=1)[1]["version"]) == ["2.0", "2.0"]
    lanes.close()
    made = gymnasium.make(
        "gym_http_server.client:gym_http_server/Remote-v0", url=server.url, env_id="Clash-v0", interpreter="one"
    )
    again = gymnasium.make(made.spec)
    assert again.reset(seed=1)[1]["version"] == made.reset(seed=1)[1]["version"] == "1.0"
    made.close()
    again.close()


UV = """#!{python}
import pathlib, sys
from tests.support.pythons import make_python

match sys.argv[1:]:
    case ["venv", "--python", python, directory]:
        make_python(pathlib.Path(directory), "3.0", "Required-v0")
    case ["pip", "install", "--python", python, "-r", file]:
        if "nowhere" in pathlib.Path(file).read_text():
            sys.exit("error: No solution found: nowhere was not found in the package registry")
"""
"""A `uv` whose environments have `clash`, and which finds every package but `nowhere`."""


@pytest.mark.full
def test_a_server_makes_an_environment_of_requirements(tmp_path: Path) -> None:
    """At its start, and none that fails: then the start ends with the package's name."""
    root = str(Path(__file__).parents[3])
    uv = tmp_path / "uv"
    uv.write_text(
        UV.format(python=sys.executable).replace(
            "import pathlib, sys", f"import pathlib, sys; sys.path.append({root!r})"
        )
    )
    uv.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    file = tmp_path / "requirements.txt"
    file.write_text("clash==3.0\n")
    options = ("--interpreter", f"made=requirements:{file}", "--interpreter-import", "made=clash")
    with start("process", *options, "--max-envs", "1", environment=environment) as server:
        path = server.create("Required-v0")
        assert version_of(server, path) == "3.0"
        # It counts as any other.
        assert server.post("/v1/envs/", {"env_id": "Required-v0"}).status == 429
        assert "gym_http_server_steps_total 1.0" in server.get("/metrics").body.decode()
        assert f"interpreter made: installing {file}" in "".join(server.stderr)
    assert len(list((tmp_path / "cache/gym-http-server/interpreters").glob("*/complete"))) == 1
    file.write_text("nowhere\n")
    with pytest.raises(AssertionError, match=r"interpreter made: no environment can be made of.* nowhere was not"):
        start("process", *options, environment=environment)
