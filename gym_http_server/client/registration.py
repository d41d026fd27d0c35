"""The registration of `gym_http_server/Remote-v0` with Gymnasium.

`gymnasium.make("gym_http_server.client:gym_http_server/Remote-v0", …)` imports the client and then looks for the id. A
program that uses only `Client` should not wait for Gymnasium and numpy to load, so the id is registered when Gymnasium is
loaded, before or after the client.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ENV_ID = "gym_http_server/Remote-v0"

_REGISTRY = "gymnasium.envs.registration"
_PACKAGE = __name__.rpartition(".")[0]


def register_when_gymnasium_is_there() -> None:
    """Register the id, now or when Gymnasium is loaded."""
    loaded = sys.modules.get(_REGISTRY)
    if loaded is None:
        sys.meta_path.insert(0, _RegistryFinder())
    else:
        _register(loaded)


class _RegistryFinder:
    """Adds the registration to the import of Gymnasium's registry, which the other finders load, and removes itself.

    It does without the base class of finders, whose module takes as long to load as all the rest.
    """

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Return the registry's own spec, with a loader that registers the id at its end."""
        if fullname != _REGISTRY:
            return None
        sys.meta_path.remove(self)
        try:
            spec = find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_register(module: ModuleType) -> None:
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                load(module)
                _register(module)

            # Only this loader's method is replaced.
            spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


def _register(registration: Any) -> None:
    if ENV_ID not in registration.registry:
        registration.register(
            id=ENV_ID,
            entry_point=f"{_PACKAGE}.remote_env:RemoteEnv",
            vector_entry_point=f"{_PACKAGE}.remote_vector_env:RemoteVectorEnv",
        )
