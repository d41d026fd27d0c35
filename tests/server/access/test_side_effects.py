"""What environments do to their own process reaches neither the server nor each other: it is theirs alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from gym_http_server.config import Settings
from gym_http_server.handover.gateway import host_entry
from gym_http_server.runtime.registry.variables import variables_for_environments
from tests.conftest import start
from tests.support.handing import TROUBLE
from tests.support.serving import Server, eventually

SECRETS = {
    "AWS_PROFILE": "x",
    "AZURE_TENANT_ID": "x",
    "GOOGLE_APPLICATION_CREDENTIALS": "x",
    "HF_TOKEN": "x",
    "MY_API_KEY": "x",
    "db_password": "x",
    "Some_Secret_Thing": "x",
    "GIT_CREDENTIALS": "x",
    "GYM_HTTP_SERVER_LOG_LEVEL": "info",
}


def ready(server: Server, **options: object) -> str:
    env = server.create(TROUBLE, **options)
    assert server.post(f"{env}/reset/").status == 200
    return env


def act(server: Server, env: str, action: str) -> dict[str, object]:
    answer = server.post(f"{env}/step/", {"action": action})
    assert answer.status == 200, answer.body
    info: dict[str, object] = answer.json["info"]
    return info


@pytest.mark.parametrize("kind", ["handover", "process"])
def test_nothing_of_an_environment_reaches_the_server(kind: str, tmp_path: Path) -> None:
    """It prints, warns, reads stdin, changes directory, ignores signals, starts threads and children; all else goes on."""
    with start(kind, "--results-root", str(tmp_path)) as server:
        process = psutil.Process(server.process.pid)
        directory, count = process.cwd(), process.num_threads()
        bystander, env = ready(server), ready(server)
        for action in ("print 100", "warn", "chdir", "signals", "threads"):
            act(server, env, action)
        assert act(server, env, "read")["read"] == ""
        children = [act(server, env, each)["child"] for each in ("spawn", "spawn_session", "spawn_in_thread")]
        # A directory that a client names is under the root, wherever an environment has gone.
        assert server.post(f"{env}/monitor/start/", {"directory": "here"}).status == 200
        assert (tmp_path / "here").is_dir()
        assert process.cwd() == directory
        assert process.num_threads() <= count + 1  # a thread of the server's own pool
        assert "variables" in act(server, bystander, "pid")
        assert server.post("/v1/envs/", {"env_id": TROUBLE}).status == 200
        assert server.post(f"{env}/close/").status == 200
        eventually(lambda: not any(map(psutil.pid_exists, children)))
        assert act(server, bystander, "x") == {}
        # SIGTERM ends it with status 0, as one whose environments have left their signals alone.
        left = ready(server)
        act(server, left, "signals")
        act(server, left, "threads")
        server.kill(signal.SIGTERM)
        assert server.process.returncode == 0


@pytest.mark.parametrize("kind", ["handover", "process"])
def test_an_environment_sees_no_secrets(kind: str) -> None:
    """Variables whose names are those of secrets stay with the server, but for one that the server is told to pass."""
    before = {name: os.environ.get(name) for name in SECRETS}
    os.environ.update({**SECRETS, "PLAIN": "seen"})
    try:
        with start(kind, "--pass-variable", "HF_TOKEN", "--pass-variable", "PLAIN") as server:
            seen = act(server, ready(server), "variables")["all_variables"]
    finally:
        del os.environ["PLAIN"]
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    assert isinstance(seen, dict)
    assert SECRETS.keys() & seen.keys() == {"HF_TOKEN"}
    assert seen["PLAIN"] == "seen"
    assert seen["PYGAME_HIDE_SUPPORT_PROMPT"]


def test_the_variables_of_the_server_are_never_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key may be one of them: to name one is refused, and the function leaves them out whatever it is given."""
    monkeypatch.setenv("GYM_HTTP_SERVER_API_KEY", "x")
    assert "GYM_HTTP_SERVER_API_KEY" not in variables_for_environments(("GYM_HTTP_SERVER_API_KEY",))
    with pytest.raises(ValueError, match="GYM_HTTP_SERVER_API_KEY"):
        Settings(pass_variable=("GYM_HTTP_SERVER_API_KEY",))


def test_the_settings_of_an_environments_process_hold_no_secret() -> None:
    """Key, certificate and target of the server stay with it, the limits go along."""
    settings = Settings(
        api_key="secret-key",
        api_key_file="secret-file",
        tls_cert="secret-cert",
        tls_key="secret-key-file",
        upload_to="s3://secret@bucket",
        max_body=12345,
        header_timeout=1.5,
    )
    shared = host_entry(settings).arguments["settings"]
    assert "secret" not in repr(shared)
    assert (shared["max_body"], shared["header_timeout"]) == (12345, 1.5)
