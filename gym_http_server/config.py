"""The settings: one table for command-line options, environment variables and the manual."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import EngineUnavailableError

ENVIRONMENT_PREFIX = "GYM_HTTP_SERVER_"

MIB = 1024 * 1024

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names that only this machine reaches."""

FACTORY = re.compile(r"[^\s=]+=[\w.]+:[\w.]+")
"""Matches a value of `--env`."""

RESOURCE = re.compile(r"[^\s=]+=\d+(\.\d+)?")
"""Matches a value of `--shard-resources`."""

SHARD = re.compile(r"[0-9a-f]{3}")
"""Matches a value of `--shard`."""


def can_fork() -> bool:
    """Return whether this platform can run the `process` engine, which needs fork and descriptor passing."""
    return sys.platform != "win32"


def can_watch_memory() -> bool:
    """Return whether this platform reports the private memory of other processes."""
    return sys.platform == "linux" and Path("/proc/self/smaps_rollup").exists()


def default_engine() -> str:
    """Return the default engine of this platform."""
    return "process" if can_fork() else "inline"


def setting(
    default: Any,
    text: str,
    *,
    flags: tuple[str, ...] = (),
    choices: tuple[str, ...] | None = None,
    least: float | None = None,
    unit: str = "",
    is_path: bool = False,
    is_command: bool = False,
    is_secret: bool = False,
) -> Any:
    """Return a dataclass field with the metadata of option, variable and manual.

    Args:
        default: default value, or a factory of it.
        text: what the setting does, one sentence.
        flags: names of the option besides `--<name with dashes>`.
        choices: allowed values, or None for any.
        least: minimum of a number.
        unit: unit of a number.
        is_path: whether it is a path; several in the environment variable are separated as in PATH.
        is_command: whether it may contain blanks; several in the environment variable are quoted as in a shell.
        is_secret: whether it is never shown and not passed to environments' processes.
    """
    metadata = {"text": text, "flags": flags, "choices": choices, "least": least, "unit": unit}
    metadata |= {"is_path": is_path, "is_command": is_command, "is_secret": is_secret}
    how = {"default_factory" if callable(default) else "default": default}
    return field(**how, metadata=metadata, repr=not is_secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a server; each field is an option of the command line and of `start_server`.

    Raises:
        ValueError: a value is not among its choices or below its minimum.
        EngineUnavailableError: this platform cannot run the engine.
    """

    listen: str = setting("127.0.0.1", "Address or host name to listen on.", flags=("-l",))
    port: int = setting(5000, "Port to listen on; 0 takes a free one.", flags=("-p",), least=0)
    engine: str = setting(
        default_engine,
        "Where environments run: a process each, inside the server's process without isolation, or in processes on the nodes of "
        "a Ray cluster.",
        choices=("process", "inline", "ray"),
    )
    imports: tuple[str, ...] = setting(
        (),
        "Module to import so that its environments can be made, such as ale_py, or MODULE:CALLABLE, a function there that "
        "registers them; repeatable.",
        flags=("--import",),
    )
    env: tuple[str, ...] = setting(
        (),
        "Environment of your own, as ID=MODULE:CALLABLE: a class or function that makes it, to which kwargs go; repeatable.",
    )
    interpreter: tuple[str, ...] = setting(
        (),
        "Another Python that environments can be made in, as NAME=COMMAND or NAME=requirements:FILE, such as "
        "old=/opt/venvs/old/bin/python; repeatable.",
        is_command=True,
    )
    interpreter_import: tuple[str, ...] = setting(
        (), "Module that an interpreter imports, as --import does here: NAME=MODULE; repeatable."
    )
    interpreter_fork: tuple[str, ...] = setting(
        (),
        "Name of an interpreter that imports its modules once and is forked for each environment, which is then made in "
        "milliseconds (process engine); repeatable.",
    )
    interpreter_cache: str = setting(
        "",
        "Directory of the virtual environments made of requirements; by default gym-http-server/interpreters below the "
        "user's cache directory.",
    )
    strict_env_ids: bool = setting(False, "Refuse a retired environment id instead of serving its successor.")
    action_check: str = setting(
        "lenient",
        "Which actions are refused where createEnv does not say: all outside the action space, the same but for the characters "
        "of a Text, or as the library only those without the form of the space.",
        choices=("lenient", "strict", "library"),
    )
    call_timeout: float = setting(
        300.0, "Time that one call may take before the environment is killed.", least=0.001, unit="s"
    )
    handover: bool | None = setting(
        None,
        "Let the process of an environment serve a connection that is used for it alone (process engine); by default "
        "unless there is a key, which environments would see.",
    )
    max_envs: int = setting(256, "Largest number of live instances.", least=1)
    max_creations: int = setting(8, "How many environments are made at the same time; others wait.", least=1)
    max_memory_per_env: int = setting(
        0,
        "Memory that an environment and its children may take before they are ended; 0 for any (process engine, Linux).",
        least=0,
        unit="bytes",
    )
    idle_timeout: float = setting(
        86400.0, "Time after which an instance that nobody has used is closed; 0 for never.", least=0, unit="s"
    )
    max_body: int = setting(16 * MIB, "Largest request body.", least=1, unit="bytes")
    max_values: int = setting(
        150_000,
        "Largest number of values (numbers, texts, arrays, objects, names) in a request body; an array of MessagePack is one.",
        least=1,
    )
    max_reply: int = setting(64 * MIB, "Largest reply.", least=1024, unit="bytes")
    max_lanes: int = setting(4096, "Largest number of environments in a batch.", least=1)
    max_async_lanes: int = setting(64, "Largest number of environments in a batch with a process for each.", least=1)
    max_snapshots: int = setting(64, "Largest number of snapshots that an instance keeps.", least=0)
    header_timeout: float = setting(20.0, "Time that the head of a request may take to arrive.", least=0.001, unit="s")
    body_timeout: float = setting(60.0, "Time that the body of a request may take to arrive.", least=0.001, unit="s")
    api_key: str = setting(
        "",
        "Key that every request is to carry; the variable and --api-key-file keep it out of the list of processes. "
        "Without one, a server that does not listen on loopback makes one.",
        is_secret=True,
    )
    api_key_file: str = setting("", "File with that key.")
    auth: bool = setting(True, "Require a key where the server does not listen on loopback.")
    cors_origin: tuple[str, ...] = setting(
        (), "Origin whose web pages may use the server, such as https://lab.example; repeatable."
    )
    allowed_host: tuple[str, ...] = setting(
        (), "Name that requests may have as their Host, besides localhost and what --listen names; repeatable."
    )
    tls_cert: str = setting("", "File with the certificate to speak TLS with, and its chain (PEM).")
    tls_key: str = setting("", "File with its private key (PEM), where that is not in the same.")
    trusted_proxy: tuple[str, ...] = setting(
        (), "Address or network of a proxy whose X-Forwarded headers are believed; repeatable."
    )
    pass_variable: tuple[str, ...] = setting(
        (),
        "Variable that environments may see though its name or value is that of a secret, such as HF_TOKEN; repeatable.",
    )
    results_root: tuple[str, ...] = setting(
        (),
        "Directory that recordings lie under; repeatable. Without one, the working and the temporary directory.",
        is_path=True,
    )
    upload_to: str = setting(
        "",
        "Where evaluations are kept, a directory or a URL such as s3://bucket/path; by default under the first root.",
    )
    compression: str = setting(
        "remote",
        "Whose replies over 1 kB are compressed, if accepted: nobody's, other machines' off the hot path, or all.",
        choices=("off", "remote", "all"),
    )
    mcp: bool | None = setting(
        None,
        "Serve MCP at /mcp, with environments as tools of language models (extra mcp); by default on loopback, and where a key "
        "is required.",
    )
    mcp_mode: str = setting(
        "full",
        "Which tools a session of MCP has: all, or in play none for seeds, snapshots and what changes an environment, with which "
        "a model could replay its way to a score.",
        choices=("full", "play"),
    )
    mcp_max_steps: int = setting(0, "Largest number of steps of a session of MCP; 0 for any.", least=0)
    mcp_record: str = setting(
        "",
        "Directory below which the episodes of each session of MCP are recorded, with trajectories; it lies under a results root.",
    )
    mcp_idle_timeout: float = setting(
        1800.0,
        "Time after which a session of MCP over HTTP that nobody has used is ended and its instances are closed; 0 for never.",
        least=0,
        unit="s",
    )
    openenv: tuple[str, ...] = setting(
        (),
        "Environment that OpenEnv's clients find at /openenv/NAME, as NAME=ENV_ID or NAME=JSON, the body of createEnv, such as "
        'small={"env_id": "FrozenLake-v1", "kwargs": {"map_name": "4x4"}}; the name / is the server\'s root; repeatable.',
        is_command=True,
    )
    no_openenv: bool = setting(
        False,
        "Serve nothing to OpenEnv's clients; by default they are served on loopback, and where a key is required.",
    )
    openenv_grace: float = setting(
        30.0,
        "Time for which the environment of an OpenEnv client that lost its connection waits for it to come back; 0 for none.",
        least=0,
        unit="s",
    )
    keep_alive: int = setting(75, "Time that an idle connection is kept.", least=1, unit="s")
    shutdown_timeout: int = setting(
        30, "Time that requests under way get to finish when the server stops.", least=1, unit="s"
    )
    log_level: str = setting(
        "info",
        "How much is logged to stderr; info has what environments print.",
        choices=("debug", "info", "warning", "error", "critical"),
    )
    log_format: str = setting("text", "Whether a line of the log is text or a JSON object.", choices=("text", "json"))
    access_log: bool = setting(False, "Log each request.")
    ray_address: str = setting(
        "",
        "Ray cluster that shards run on: auto for one that runs here, local to start one, HOST:PORT or ray://HOST:PORT; by "
        "default one that runs here, else a local one (ray engine, as the settings that begin with shard).",
    )
    shard_envs: int = setting(64, "Largest number of live instances on a shard.", least=1)
    shard_cpus: float = setting(1.0, "Processors that Ray reserves for a shard.", least=0)
    shard_gpus: float = setting(0.0, "GPUs that Ray reserves for a shard.", least=0)
    shard_resources: tuple[str, ...] = setting(
        (), "Resource of your own that Ray reserves for a shard, as NAME=NUMBER; repeatable."
    )
    shard_idle: float = setting(
        300.0,
        "Time after which a shard without instances ends, but for one where a router runs; 0 for never.",
        least=0,
        unit="s",
    )
    shard_timeout: float = setting(
        60.0, "Time that a creation waits for a node with room for a new shard.", least=0.001, unit="s"
    )
    router_only: bool = setting(
        False, "Route to the shards that another server with --engine ray starts and ends; start and end none."
    )
    direct: bool = setting(True, "Tell clients where they reach an instance without the router.")
    shard: str = setting(
        "",
        "Three hex digits that the ids of instances begin with, so that a router of several servers knows whose they are.",
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            value, choices, least = getattr(self, each.name), each.metadata["choices"], each.metadata["least"]
            if choices is not None and value not in choices:
                raise ValueError(f"{each.name} is {value!r} and must be one of {', '.join(choices)}")
            if least is not None and not value >= least:
                raise ValueError(f"{each.name} is {value!r} and must be at least {least}")
        if self.port > 65535:
            raise ValueError(f"port is {self.port} and must be at most 65535")
        if self.engine == "process" and not can_fork():
            raise EngineUnavailableError(
                "the process engine needs fork and descriptor passing, which this platform does not have: "
                "use --engine inline"
            )
        if self.max_memory_per_env and self.engine == "inline":
            raise EngineUnavailableError(
                f"max_memory_per_env cannot be held in the {self.engine} engine, where environments have no memory of "
                "their own: use --engine process, or leave it at 0"
            )
        if self.max_memory_per_env and self.engine == "process" and not can_watch_memory():
            raise EngineUnavailableError(
                "max_memory_per_env needs /proc, which tells of the memory of other processes and which this platform "
                "does not have: leave it at 0"
            )
        self._check_texts()

    def _check_texts(self) -> None:
        for source in self.env:
            if not FACTORY.fullmatch(source):
                raise ValueError(f"env is {source!r} and must be ID=MODULE:CALLABLE, such as Shop-v0=my_envs:make_shop")
        for resource in self.shard_resources:
            if not RESOURCE.fullmatch(resource):
                raise ValueError(f"shard_resources is {resource!r} and must be NAME=NUMBER, such as licence=1")
        if self.router_only and self.engine != "ray":
            raise ValueError(f"router_only is set with the {self.engine} engine: it is for --engine ray")
        if self.shard and not SHARD.fullmatch(self.shard):
            raise ValueError(f"shard is {self.shard!r} and must be three hex digits, such as 01f")
        for source in self.openenv:
            named_environment(source)
        for name in self.pass_variable:
            if name.startswith(ENVIRONMENT_PREFIX):
                raise ValueError(f"pass_variable is {name!r}, which is the server's own and never passed")

    @property
    def is_private(self) -> bool:
        """Whether only this machine and those with a key reach the server."""
        return bool(self.api_key) or self.auth or self.listen in LOOPBACK

    @property
    def serves_openenv(self) -> bool:
        """Whether OpenEnv's clients are served."""
        return self.is_private and not self.no_openenv

    @property
    def has_openenv_root(self) -> bool:
        """Whether OpenEnv's clients find an environment at the server's root."""
        return any(each.startswith("/=") for each in self.openenv)

    @property
    def sources(self) -> tuple[str, ...]:
        """What is imported beside environments: `--import`, then `--env`."""
        return (*self.imports, *self.env)


def named_environment(source: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the body of createEnv in a value of `--openenv`.

    Raises:
        ValueError: it is none.
    """
    name, _, text = source.partition("=")
    expected = "NAME=ENV_ID or NAME=JSON with the body of createEnv for a single environment"
    try:
        body = json.loads(text) if text.startswith("{") else {"env_id": text}
    except ValueError as error:
        raise ValueError(f"openenv is {source!r} and must be {expected}; its JSON cannot be read: {error}") from None
    words = (name, body.get("env_id"))
    if "num_envs" in body or not all(isinstance(each, str) and re.fullmatch(r"\S+", each) for each in words):
        raise ValueError(f"openenv is {source!r} and must be {expected}, such as lake=FrozenLake-v1")
    return name, body


def option_name(name: str) -> str:
    """Return the long option of the setting `name`, such as `--max-body`."""
    return "--import" if name == "imports" else "--" + name.replace("_", "-")


def variable_name(name: str) -> str:
    """Return the environment variable of the setting `name`, such as `GYM_HTTP_SERVER_MAX_BODY`."""
    return ENVIRONMENT_PREFIX + option_name(name)[2:].replace("-", "_").upper()
