"""`PartialDict`: a Dict whose values may lack some of its keys, such as the agents that have left."""

from __future__ import annotations

from typing import Any

from gymnasium.spaces import Dict, Space
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array


class PartialDict(Dict):  # no generic class before Gymnasium 1.2
    """A Dict whose values may lack some of its keys. A batch of such values is a tuple."""

    def contains(self, x: Any) -> bool:
        """Return whether each entry is in its space."""
        return isinstance(x, dict) and all(key in self.spaces and self.spaces[key].contains(x[key]) for key in x)


# As of a space that Gymnasium does not know: an array for each key would need a value of each lane.
batch_space.register(PartialDict, batch_space.dispatch(Space))
concatenate.register(PartialDict, concatenate.dispatch(Space))
create_empty_array.register(PartialDict, create_empty_array.dispatch(Space))
