"""`Secret`: an API key that specs may carry and nobody prints by mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec


class Secret(str):
    """A text whose `repr` does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


def guarded(spec: EnvSpec | None) -> EnvSpec | None:
    """Return `spec` with the API key among its arguments made a secret: Gymnasium prints specs, and their arguments."""
    api_key = None if spec is None else spec.kwargs.get("api_key")
    if spec is not None and api_key is not None:
        # Another dict: Gymnasium shares it with the registry's copies.
        spec.kwargs = {**spec.kwargs, "api_key": Secret(api_key)}
    return spec
