"""The operations of the contract as Python methods, grouped as the server's handlers are; none knows how requests are sent."""

from __future__ import annotations

from .episodes import EpisodeMethods
from .instances import InstanceMethods
from .play import PlayMethods
from .server import ServerMethods
from .spaces import SpaceMethods


class Operations(InstanceMethods, EpisodeMethods, PlayMethods, SpaceMethods, ServerMethods):
    """One method per operation of the contract."""
