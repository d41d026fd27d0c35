"""TLS: the server with a certificate, its clients, and certificates that cannot be used."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gym_http_server.client import Client
from tests.conftest import KINDS
from tests.support.serving import ROOT, Server, raw


class Files(NamedTuple):
    authority: str
    certificate: str
    key: str
    both: str


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A certificate for localhost, of an authority that nobody knows."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    made = Files(*(str(folder / name) for name in ("authority.pem", "certificate.pem", "key.pem", "both.pem")))
    authority.cert_pem.write_to_path(made.authority)
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(made.certificate, append=number > 0)
    issued.private_key_pem.write_to_path(made.key)
    issued.private_key_and_cert_chain_pem.write_to_path(made.both)
    return made


@pytest.fixture(scope="module", params=["handover", "inline"])
def secure(request: pytest.FixtureRequest, files: Files) -> Iterator[Server]:
    """A server that speaks TLS, with each engine."""
    with Server(*KINDS[request.param], "--tls-cert", files.certificate, "--tls-key", files.key) as running:
        yield running


def test_a_server_with_a_certificate_speaks_tls(secure: Server, files: Files) -> None:
    """Its address is https, a client that knows the authority is served, and its pages are there."""
    assert secure.url.startswith("https://127.0.0.1:")
    assert all("https://" in line for line in secure.banner)
    trusting = ssl.create_default_context(cafile=files.authority)
    for path in ("/v1/health/", "/", "/openapi.yaml"):
        with urllib.request.urlopen(secure.url + path, context=trusting, timeout=60) as answer:
            assert answer.status == 200


def test_the_python_client_speaks_tls(secure: Server, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the authority in SSL_CERT_FILE it steps, with large bodies and replies as well; without, it refuses to connect."""
    monkeypatch.setenv("SSL_CERT_FILE", files.authority)
    with Client(secure.url) as client:
        env = client.create_env("CartPole-v1", seed=1)["instance_id"]
        client.reset_env(env)
        for _ in range(20):
            client.step_env(env, client.sample_action(env))
        reply = client.rollout(env, policy="random", steps=5000)
        assert len(reply["actions"]) == 5000
        assert client.rollout(env, actions=reply["actions"])["actions"] == reply["actions"]
        client.close_env(env)
    monkeypatch.delenv("SSL_CERT_FILE")
    with Client(secure.url) as client, pytest.raises(ConnectionError, match="certificate"):
        client.list_envs()


def test_plain_http_is_not_served_there(secure: Server) -> None:
    """Who does not speak TLS gets no answer."""
    assert b"HTTP" not in raw(secure.address, b"GET /v1/health/ HTTP/1.1\r\nHost: localhost\r\n\r\n")


def test_one_file_may_hold_both(files: Files) -> None:
    """The key may lie in the certificate's file."""
    with Server("--tls-cert", files.both) as server:
        trusting = ssl.create_default_context(cafile=files.authority)
        with urllib.request.urlopen(f"{server.url}/v1/health/", context=trusting, timeout=60) as answer:
            assert json.load(answer)["status"] == "ok"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tls-key", "{key}"], "--tls-cert"),
        (["--tls-cert", "{certificate}"], "certificate.pem"),
        (["--tls-cert", "/nonexistent.pem", "--tls-key", "{key}"], "/nonexistent.pem"),
        (["--tls-cert", "{certificate}", "--tls-key", "{locked}"], "password"),
        (["--tls-cert", "{authority}", "--tls-key", "{key}"], "authority.pem"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_one_line(
    files: Files, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """The server does not start, names the files, and never asks for a password."""
    locked = tmp_path / "locked.pem"
    private = load_pem_private_key(Path(files.key).read_bytes(), None)
    locked.write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret of the key"))
    )
    named = {**files._asdict(), "locked": str(locked)}
    done = subprocess.run(
        [sys.executable, "-m", "gym_http_server", "-p", "0", *(each.format(**named) for each in arguments)],
        capture_output=True, text=True, timeout=60, cwd=ROOT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert words in done.stderr
