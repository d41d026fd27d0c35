"""Which variables of the server's environments' processes see."""

from __future__ import annotations

import json

import pytest

from gym_http_server.runtime.registry.variables import SECRET_VALUE, variables_for_environments

SECRETS = [
    "postgres://user:secret@db.example/app",
    "redis://:secret@cache:6379/0",
    "http://user:p%40ss@proxy.example:3128",
    "pip install --index-url https://__token__:abc@pypi.example/simple",
    "Server=db;Database=app;User Id=sa;Pwd=secret;",
    "host=db dbname=app user=me password=secret",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net",
    "https://blob.example/container?sv=2024&sig=c2VjcmV0",
    json.dumps({"type": "service_account", "private_key": "x"}),
    json.dumps({"auths": {"registry.example": {"password": "x"}}}),
    "-----BEGIN PRIVATE KEY-----\nMIIE",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "Authorization: Basic dXNlcjpzZWNyZXQ=",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a" * 36,
    "github_pat_" + "a" * 40,
    "glpat-" + "a" * 20,
    "sk-ant-" + "a" * 30,
    "sk_live_" + "a" * 24,
    "xoxb-1234567890-abc",
    "hf_" + "a" * 34,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig",
]
PLAIN = [
    "",
    "/usr/local/bin:/usr/bin:/home/me/.local/bin",
    "https://example.org/path?page=2#top",
    "http://proxy.example:3128",
    "ssh://git@github.com/me/repo.git",
    "unix:path=/run/user/1000/bus,guid=0123456789abcdef",
    "rs=0:di=01;34:ln=01;36:*.tar=01;31",
    "en_US.UTF-8",
    "-----BEGIN CERTIFICATE-----",
    "tensor=float32;device=cuda:0",
    "me@example.org: a note",
    "a" * 200_000,
    "a:" * 100_000,
]


@pytest.mark.parametrize("value", SECRETS)
def test_a_value_that_holds_a_secret_is_kept_back_under_any_name(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the variable is named to be passed."""
    monkeypatch.setenv("DATABASE_URL", value)
    assert "DATABASE_URL" not in variables_for_environments()
    assert variables_for_environments(("DATABASE_URL",))["DATABASE_URL"] == value


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: value[:20])
def test_other_values_pass(value: str) -> None:
    """Paths, URLs without a password and long texts."""
    assert SECRET_VALUE.search(value) is None
