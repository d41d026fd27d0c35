"""Names and labels of instances: set, changed and taken away, and shown where people look for an instance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_http_server.client import Client, RemoteEnv, RemoteVectorEnv, ServerProblem
from gym_http_server.errors import InvalidValueError
from gym_http_server.instances.metadata import MAX_LABEL_NAME_CHARS, MAX_LABELS, Metadata
from tests.support.serving import Answer, Server

TEXTS = st.text("aB9 ä😀<&\"'", min_size=1, max_size=20)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.none() | TEXTS,
        "labels": st.none() | st.dictionaries(TEXTS, st.none() | TEXTS, max_size=5),
        "other": st.integers(),
    },
)


def patch(server: Server, env: str, body: Any) -> Answer:
    return server.request("PATCH", f"{env}/", body)


def named(server: Server, env: str) -> tuple[str | None, dict[str, str]]:
    found = server.get(f"{env}/").json
    return found["name"], found["labels"]


def test_an_instance_has_no_name_and_no_labels_until_it_is_given_some(server: Server) -> None:
    """The description says so, and the list names only those that have some."""
    env = server.create()
    instance_id = env.rsplit("/", 1)[1]
    assert named(server, env) == (None, {})
    listed = server.get("/v1/envs/").json
    assert instance_id in listed["envs"]
    assert instance_id not in listed["names"]
    assert instance_id not in listed["labels"]


def test_a_name_and_labels_can_be_given_when_it_is_made(server: Server) -> None:
    """They are in its description and in the list, while `envs` and `all_envs` stay as old clients know them."""
    env = server.create("CartPole-v1", name="baseline, third try", labels={"owner": "ada", "größe": "ß"})
    instance_id = env.rsplit("/", 1)[1]
    assert named(server, env) == ("baseline, third try", {"owner": "ada", "größe": "ß"})
    listed = server.get("/v1/envs/").json
    assert listed["names"][instance_id] == "baseline, third try"
    assert listed["labels"][instance_id] == {"owner": "ada", "größe": "ß"}
    assert listed["envs"] == listed["all_envs"]
    assert all(isinstance(each, str) for each in listed["all_envs"].values())


def test_a_patch_changes_what_it_names_and_nothing_else(server: Server) -> None:
    """Absent members stay, null takes away, and the reply is the description."""
    env = server.create(name="one", labels={"a": "1", "b": "2"})
    answer = patch(server, env, {"labels": {"a": None, "c": "3"}})
    assert answer.status == 200
    assert answer.json == {**server.get(f"{env}/").json, "last_used_at": answer.json["last_used_at"]}
    assert named(server, env) == ("one", {"b": "2", "c": "3"})
    assert patch(server, env, {"name": "two"}).status == 200
    assert named(server, env) == ("two", {"b": "2", "c": "3"})
    assert patch(server, env, {}).status == 200
    assert patch(server, env, {"name": None, "labels": None, "unknown": 1}).status == 200
    assert named(server, env) == (None, {})


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x" * 201},
        {"name": 1},
        {"name": "two\nlines"},
        {"name": "\x1b[31mred"},
        {"name": "half \ud83d"},
        {"labels": ["a"]},
        {"labels": {"a": 1}},
        {"labels": {"a": "x" * 1001}},
        {"labels": {"": "x"}},
        {"labels": {"x" * (MAX_LABEL_NAME_CHARS + 1): "x"}},
        {"labels": {"a\tb": "x"}},
        {"labels": {"a": "x\r"}},
        {"labels": {str(index): "x" for index in range(MAX_LABELS + 1)}},
        [],
        None,
    ],
)
def test_what_is_no_name_or_label_is_a_400_and_changes_nothing(server: Server, body: Any) -> None:
    """The message says what is wrong, at createEnv as at updateEnv, and no instance is made."""
    env = server.create(name="kept", labels={"kept": "too"})
    answer = patch(server, env, body)
    assert answer.status == 400
    assert answer.message
    assert named(server, env) == ("kept", {"kept": "too"})
    if isinstance(body, dict):
        before = server.get("/v1/envs/").json["envs"]
        assert server.post("/v1/envs/", {"env_id": "CartPole-v1", **body}).status == 400
        assert server.get("/v1/envs/").json["envs"] == before


def test_labels_are_limited_in_all_and_not_only_in_one_request(server: Server) -> None:
    """A label more than an instance may have is refused, and one of those that it has can still be changed."""
    longest = {"k" * MAX_LABEL_NAME_CHARS: "x"}
    env = server.create(labels={str(index): "x" for index in range(MAX_LABELS - 1)} | longest)
    refused = patch(server, env, {"labels": {"one more": "x"}})
    assert refused.status == 400
    assert str(MAX_LABELS) in refused.message
    assert patch(server, env, {"labels": {"0": "y"}}).json["labels"]["0"] == "y"
    assert patch(server, env, {"labels": {"0": None, "one more": "x"}}).status == 200


def test_an_unknown_instance_is_a_400(server: Server) -> None:
    """As for every other operation of an instance."""
    assert "Instance_id" in patch(server, "/v1/envs/0a1b2c3d", {"name": "x"}).message


def test_naming_does_not_wait_for_the_environment_and_is_no_use_of_it(process_server: Server) -> None:
    """An instance that is busy, or lost, can be named, and that is no call of it."""
    env = process_server.create("tests/Troublemaker-v0")
    process_server.post(f"{env}/reset/")
    assert process_server.post(f"{env}/step/", {"action": "exit 3"}).status == 502
    before = process_server.get(f"{env}/").json["last_used_at"]
    found = patch(process_server, env, {"name": "the lost one"}).json
    assert (found["state"], found["name"], found["last_used_at"]) == ("lost", "the lost one", before)
    assert process_server.post(f"{env}/close/").status == 200


def test_the_home_page_shows_names_and_labels_as_texts(server: Server) -> None:
    """Whatever they are, they are shown and not taken for HTML."""
    env = server.create(name="<b>bold</b> & 'quoted'", labels={"<i>key": "</span>value"})
    page = server.get("/", headers={"Accept": "text/html"}, check=False).body.decode()
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &#39;quoted&#39;" in page
    assert "&lt;i&gt;key: &lt;/span&gt;value" in page
    server.post(f"{env}/close/")


def test_the_python_client_names_instances(server: Server) -> None:
    """By create_env, update_env and RemoteEnv; an argument left out changes nothing."""
    url = "http://{}:{}".format(*server.address)
    with Client(url) as client:
        instance_id = client.create_env("CartPole-v1", name="one", labels={"a": "1"})["instance_id"]
        assert client.update_env(instance_id, labels={"b": "2"})["labels"] == {"a": "1", "b": "2"}
        found = client.update_env(instance_id, name=None)
        assert (found["name"], found["labels"]) == (None, {"a": "1", "b": "2"})
        env = RemoteEnv(url, "CartPole-v1", name="remote", labels={"c": "3"})
        found = client.get_env(env.instance_id)
        assert (found["name"], found["labels"]) == ("remote", {"c": "3"})
        env.close()


@pytest.mark.parametrize("make", [RemoteEnv, partial(RemoteVectorEnv, num_envs=2)])
def test_a_remote_environment_is_named_when_it_is_made_and_later(server: Server, make: Callable[..., Any]) -> None:
    """`update` of an environment or a batch changes what it is given and nothing else, and returns the description."""
    with Client(server.url) as client:
        env = make(server.url, "CartPole-v1", name="first", labels={"owner": "ada", "run": "1"})
        listed = {"env_id": "CartPole-v1", "name": "first", "labels": {"owner": "ada", "run": "1"}}
        assert client.list_named_envs()[env.instance_id] == listed
        assert env.update(name="second")["labels"] == {"owner": "ada", "run": "1"}
        found = env.update(labels={"run": None, "note": "x"})
        assert (found["name"], found["labels"]) == ("second", {"owner": "ada", "note": "x"})
        with pytest.raises(ServerProblem, match="name"):
            env.update(name="two\nlines")
        env.close()


def test_the_python_client_lists_names_and_labels(server: Server) -> None:
    """`list_named_envs` has all instances, those without a name too, and `list_envs` stays as old programs know it."""
    with Client(server.url) as client:
        plain = client.create_env("CartPole-v1")["instance_id"]
        labelled = client.create_env("CartPole-v1", labels={"a": "1"})["instance_id"]
        found = client.list_named_envs()
        assert found[plain] == {"env_id": "CartPole-v1", "name": None, "labels": {}}
        assert found[labelled] == {"env_id": "CartPole-v1", "name": None, "labels": {"a": "1"}}
        assert client.list_envs() == {each: told["env_id"] for each, told in found.items()}


@given(st.lists(CHANGES, max_size=6))
def test_changes_add_up_as_json_merge_patches(changes: list[dict[str, Any]]) -> None:
    """After any changes the name and the labels are those of RFC 7396's own algorithm."""

    def merged(target: Any, patch: Any) -> Any:
        if not isinstance(patch, dict):
            return patch
        target = dict(target) if isinstance(target, dict) else {}
        for key, value in patch.items():
            if value is None:
                target.pop(key, None)
            else:
                target[key] = merged(target.get(key), value)
        return target

    made, model = Metadata(), {}
    for each in changes:
        made, model = made.changed(each), merged(model, each)
    assert made == Metadata(model.get("name"), model.get("labels", {}))


@given(st.text(max_size=5))
def test_no_text_that_is_taken_breaks_a_line(text: str) -> None:
    """What passes can be written in a line of JSON, of a log and of a page."""
    try:
        made = Metadata().changed({"name": text, "labels": {text: text}})
    except InvalidValueError:
        return
    assert made.name == text
    assert len(text.splitlines()) <= 1
    assert text.encode()
