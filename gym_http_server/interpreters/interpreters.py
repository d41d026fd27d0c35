"""`Interpreters`: the interpreters of a server, which one makes an environment, and what each registers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from ..errors import GymHttpServerError, InterpreterChoiceError, MissingDependencyError, UnknownEnvironmentError
from ..runtime.messages import Interpreter
from ..runtime.registry.registered import in_order
from ..runtime.registry.registry import MIN_TIMEOUT_SECONDS
from ..runtime.registry.subprocess_query import Inquirer
from ..support.threads import DaemonThreads
from .options import RequirementsFile, options_of
from .registered import InterpreterRegistry
from .requirements import RequirementsEnvironment

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..config import Settings
    from ..runtime.messages import CreateRequest
    from ..runtime.registry.registered import RegisteredEnv

Asked: TypeAlias = "dict[str, Future[tuple[RegisteredEnv, ...]]]"
"""Answers to come, by the interpreter's name."""

Failure = TypeVar("Failure", bound=GymHttpServerError)

WAIT_SECONDS: Final = 15.0
"""Time that a request waits for what interpreters register."""


@dataclass(frozen=True, slots=True)
class InterpreterState:
    """What is known of an interpreter or library, as plain JSON values.

    Attributes:
        name: its name.
        state: `ready`: its environments are listed; `asked`: it has not answered yet; `failed`: it cannot be asked.
        reason: why it failed; None if it did not.
    """

    name: str
    state: str
    reason: str | None = None

    def __str__(self) -> str:
        if self.state == "ready":
            return self.name
        return f"{self.name} (it has not answered yet)" if self.state == "asked" else f"{self.name} ({self.reason})"

    def to_json(self) -> dict[str, Any]:
        """Return the members by name."""
        return {"name": self.name, "state": self.state, "reason": self.reason}


class Interpreters:
    """The interpreters that the settings name.

    Args:
        settings: of which `interpreter…`, `pass_variable` and `call_timeout` are used.

    Raises:
        InterpreterOptionError: a setting is not as expected.
    """

    def __init__(self, settings: Settings) -> None:
        self._environments: list[RequirementsEnvironment] = []
        self._by_name: dict[str, Interpreter] = {}
        for option in options_of(settings):
            command = option.source
            if isinstance(command, RequirementsFile):
                environment = RequirementsEnvironment(option.name, command, settings.interpreter_cache)
                self._environments.append(environment)
                command = (environment.python,)
            self._by_name[option.name] = Interpreter(option.name, command, option.imports, option.may_fork)
        seconds = max(settings.call_timeout, MIN_TIMEOUT_SECONDS)
        # A little longer than the guest has, whose end says more.
        self._inquirer = Inquirer(pass_variable=settings.pass_variable, seconds=seconds + 5.0, setting="--call-timeout")
        self._registries = {
            name: InterpreterRegistry(interpreter, self._inquirer, seconds)
            for name, interpreter in self._by_name.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in the order of the settings."""
        return tuple(self._by_name)

    async def make(self) -> None:
        """Make the virtual environments of requirements.

        Raises:
            InterpreterOptionError: one cannot be made.
        """
        # Not asyncio's threads: an exit would wait for an installation.
        threads = DaemonThreads(1, "interpreters")
        try:
            for environment in self._environments:
                await asyncio.wrap_future(threads.submit(environment.make))
        finally:
            threads.shutdown()

    def stop(self) -> None:
        """Kill what is being asked."""
        self._inquirer.stop()

    def named(self, name: str) -> Interpreter:
        """Return an interpreter.

        Raises:
            InterpreterChoiceError: none has that name.
        """
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(self.names)
            have = f"this server has {known}" if known else "this server has none besides its own (--interpreter)"
            raise InterpreterChoiceError(
                f"no interpreter is named {name[:200]!r}: {have}; leave it out for the server's own",
                interpreters=list(self.names),
            ) from None

    async def instead(
        self, request: CreateRequest, error: UnknownEnvironmentError | MissingDependencyError
    ) -> Interpreter:
        """Return the interpreter that makes what the server's own Python cannot.

        Args:
            request: the request, which names no interpreter.
            error: why the server's own Python cannot.

        Raises:
            InterpreterChoiceError: several interpreters register the id.
            MissingDependencyError: the server's own Python registers it; the error names interpreters that do, too.
            UnknownEnvironmentError: no interpreter registers it.
        """
        asked = self.ask()
        await wait_for(asked)
        environments, states = listed(asked)
        having = [
            each for each in environments if each.env_id == request.env_id and request.library in ("auto", each.library)
        ]
        able = {each.interpreter for each in having if each.installed} or {each.interpreter for each in having}
        names = [name for name in self.names if name in able]
        if isinstance(error, MissingDependencyError):
            hint = f"; or name an interpreter that has it: {', '.join(names)}" if names else ""
            raise with_detail(error, f"{error.detail}{hint}") from error
        if not names:
            known = ", ".join(map(str, states))
            raise with_detail(error, f"{error.detail}; nor has an interpreter such an id: {known}") from error
        if len(names) > 1:
            raise InterpreterChoiceError(
                f"{request.env_id} is registered in several interpreters, {', '.join(names)}: name one as interpreter",
                interpreters=names,
            )
        return self._by_name[names[0]]

    def ask(self, name: str | None = None) -> Asked:
        """Ask an interpreter, or all, what it registers; does not block.

        Raises:
            InterpreterChoiceError: none has that name.
        """
        names = self.names if name is None else (self.named(name).name,)
        return {each: self._registries[each].environments() for each in names}


def told_by(interpreter: Interpreter, error: Failure) -> Failure:
    """Return an error of an interpreter that names it."""
    name = repr(interpreter.name)
    detail = error.detail if name in error.detail else f"{error.detail} (interpreter {name})"
    return with_detail(error, detail, interpreter=interpreter.name)


def with_detail(error: Failure, detail: str, **facts: Any) -> Failure:
    """Return an error of the same class and facts with another text."""
    changed = type(error)(detail, **facts)
    changed.facts = {
        **error.facts,
        **changed.facts,
    }  # not as arguments: facts of an environment's process have any name
    return changed


async def wait_for(asked: Asked, seconds: float | None = WAIT_SECONDS) -> None:
    """Wait for answers, for at most so many seconds."""
    answers = [asyncio.wrap_future(each) for each in asked.values()]
    for each in answers:
        # Else asyncio logs an exception that nobody has looked at.
        each.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
    if answers:
        await asyncio.wait(answers, timeout=seconds)


def listed(asked: Asked) -> tuple[list[RegisteredEnv], list[InterpreterState]]:
    """Return the environments of those that have answered, in order, and the state of all."""
    environments: list[RegisteredEnv] = []
    states = []
    for name, answer in asked.items():
        if not answer.done():
            states.append(InterpreterState(name, "asked"))
        elif (error := answer.exception()) is not None:
            states.append(
                InterpreterState(name, "failed", error.detail if isinstance(error, GymHttpServerError) else repr(error))
            )
        else:
            environments += answer.result()
            states.append(InterpreterState(name, "ready"))
    return environments if len(states) == 1 else in_order(environments), states
