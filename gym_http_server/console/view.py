"""`ConsoleView`, `Door`, `RegistryView` and `ResultsView`: the interfaces through which the console sees the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from ..runtime.registry.registered import RegisteredEnv


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One live instance as the console shows it.

    Attributes:
        instance_id: its name, 8 hex digits.
        env_id: the environment really served.
        library: the library it comes from, with its version.
        engine: the engine that runs it.
        state: `ready`, `busy`, `closed` or `lost`.
        steps: steps made since it was created.
        episodes: episodes ended since it was created.
        created_at: when it was created, in UTC.
        last_used_at: when its last call was made, in UTC.
        num_envs: number of lanes of a batch; None for a single environment.
        name: what people call it, or None.
        labels: texts by which people tell it apart, by their names.
    """

    instance_id: str
    env_id: str
    library: str
    engine: str
    state: str
    steps: int
    episodes: int
    created_at: datetime
    last_used_at: datetime
    num_envs: int | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


class ConsoleView(Protocol):
    """The server as the console sees it.

    Flask serves pages on threads of its own: every member is read there, and must be safe to read there.
    """

    @property
    def version(self) -> str:
        """The version of gym-http-server."""

    @property
    def started_at(self) -> datetime:
        """When the server started, in UTC."""

    @property
    def engine(self) -> str:
        """The engine in which instances run: `process` or `inline`."""

    def libraries(self) -> dict[str, str]:
        """Return the version of each library of environments that is installed, by name."""

    def instances(self) -> Sequence[InstanceRow]:
        """Return the live instances, in any order."""


class Refusal(Protocol):
    """Why a request is refused."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def detail(self) -> str:
        """What was wrong, what was expected and what to do."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the reply."""


class Door(Protocol):
    """Where people log in."""

    @property
    def is_locked(self) -> bool:
        """Whether the server requires a key at all."""

    @property
    def cookie(self) -> str:
        """The name of a session's cookie."""

    @property
    def seconds(self) -> int:
        """How long a session lasts."""

    @property
    def challenge(self) -> str:
        """What `WWW-Authenticate` says."""

    def accepts(self, key: str) -> bool:
        """Return whether it is the server's key."""

    def begin(self) -> str:
        """Begin a session; return the value of its cookie."""

    def end(self, cookies: str) -> None:
        """End the sessions in a `Cookie` header: nobody who has kept the cookie is let in by it."""


class RegistryView(Protocol):
    """The environments that can be made, read on Flask's threads."""

    def environments(self) -> Future[tuple[RegisteredEnv, ...]]:
        """Return what is to be the environments, and may raise `InquiryFailedError`; it does not block."""


class EvaluationView(Protocol):
    """A recording and how good it is; the contract's schema of that name describes each member."""

    @property
    def evaluation_id(self) -> str:
        """Its name."""

    @property
    def env_id(self) -> str:
        """The environment."""

    @property
    def library(self) -> str:
        """The library that the environment comes from, with its version."""

    @property
    def algorithm_id(self) -> str | None:
        """What the uploader called the algorithm, if anything."""

    @property
    def created_at(self) -> datetime:
        """When it was uploaded, in UTC."""

    @property
    def episodes(self) -> int:
        """Number of completed episodes."""

    @property
    def total_steps(self) -> int:
        """Steps of these episodes together."""

    @property
    def mean_return(self) -> float | None:
        """Mean of their returns."""

    @property
    def best_mean_return(self) -> float | None:
        """Best mean return of 100 consecutive episodes; None where there are fewer."""

    @property
    def reward_threshold(self) -> float | None:
        """Mean return of 100 consecutive episodes that solves the environment; None where it has none."""

    @property
    def episodes_to_threshold(self) -> int | None:
        """Episodes before the 100 that reached the threshold first; None where none did."""

    @property
    def seconds_to_threshold(self) -> float | None:
        """Seconds from the first reset to the end of these; None where none did."""

    @property
    def videos(self) -> tuple[str, ...]:
        """Names of its videos."""


class CurveView(Protocol):
    """A learning curve: tuples with an entry for each completed episode, in the order of their ends."""

    @property
    def episode_returns(self) -> tuple[float, ...]:
        """Sum of the rewards."""

    @property
    def episode_lengths(self) -> tuple[int, ...]:
        """Number of steps."""

    @property
    def running_means(self) -> tuple[float, ...]:
        """Mean return of this episode and the up to 99 before it."""

    @property
    def seconds(self) -> tuple[float, ...]:
        """Seconds from the first reset to its end."""


class ResultsView(Protocol):
    """The evaluations as the console sees them, read on Flask's threads.

    Every method may raise `UploadTargetError`, and those that take an id `UnknownEvaluationError`.
    """

    def evaluations(
        self, env_id: str | None = None, order: Literal["newest", "best"] = "newest"
    ) -> Sequence[EvaluationView]:
        """Return the evaluations, of one environment or of all."""

    def best(self) -> Sequence[EvaluationView]:
        """Return the best evaluation of each environment and algorithm, by environment, then the best score first."""

    def get(self, evaluation_id: str) -> EvaluationView:
        """Return one evaluation."""

    def curve(self, evaluation_id: str) -> CurveView:
        """Return its learning curve."""

    def open_file(self, evaluation_id: str, name: str) -> BinaryIO:
        """Open one of its videos, seekable; a name that it does not list is unknown."""
