"""`Window`: shows frames on the display of this machine."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from ..runtime.making.dependencies import REQUIREMENTS, pip_command

_PIXEL_AXES = 3


class Window:
    """A window of pygame, which allows one per process; it opens with its first frame.

    Args:
        title: the window's title.

    Raises:
        DependencyNotInstalled: pygame is not installed.
        RuntimeError: there is no display.
    """

    def __init__(self, title: str) -> None:
        self._pygame: Any = None
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            raise DependencyNotInstalled(
                "render_mode='human' shows the frames in a window here, which needs pygame: "
                + pip_command(REQUIREMENTS["pygame"], python=sys.executable)
            ) from error
        try:
            pygame.display.init()
        except pygame.error as error:
            raise RuntimeError(
                f"render_mode='human' shows the frames in a window here, and no display can be opened ({error}): "
                "use render_mode='rgb_array'"
            ) from error
        self._pygame = pygame
        self._title = title
        self._size = (0, 0)
        self._clock = pygame.time.Clock()

    def show(self, pixels: np.ndarray[Any, Any], fps: float) -> None:
        """Show a frame of shape (height, width) or (height, width, channels), at most `fps` times a second."""
        pygame = self._pygame
        if pixels.ndim < _PIXEL_AXES or pixels.shape[2] == 1:
            pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
        size = (pixels.shape[1], pixels.shape[0])
        if size != self._size:
            self._size = size
            pygame.display.set_mode(size)
            pygame.display.set_caption(self._title)
        surface = pygame.surfarray.make_surface(pixels[:, :, :3].swapaxes(0, 1))
        pygame.display.get_surface().blit(surface, (0, 0))
        pygame.event.pump()
        self._clock.tick(fps)
        pygame.display.flip()

    def close(self) -> None:
        """Close it; closing it again does nothing."""
        pygame, self._pygame = self._pygame, None
        if pygame is not None:
            pygame.display.quit()

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.close()
