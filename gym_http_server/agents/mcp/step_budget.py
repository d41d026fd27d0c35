"""How many steps a session may still take."""

from __future__ import annotations

from ...errors import InvalidValueError


class StepBudget:
    """The steps of a session.

    Args:
        most: maximum number of steps; 0 for any.

    Attributes:
        most: as above.
        taken: number of steps taken.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    @property
    def left(self) -> int | None:
        """Number of steps that may still be taken; None for any."""
        return self.most - self.taken if self.most else None

    @property
    def in_words(self) -> str:
        """A line that says how many are left; empty for any number."""
        return f"\n{self.left} of {self.most} steps of this session are left." if self.most else ""

    def check(self) -> None:
        """Check that a step is left.

        Raises:
            InvalidValueError: all are taken.
        """
        if self.left == 0:
            raise InvalidValueError(
                f"this session has taken all {self.most} steps that it may take (--mcp-max-steps): nothing more can be done in it "
                "than to observe, render and close"
            )

    def take(self) -> None:
        """Count a step before it is taken, because calls of a session run at the same time.

        Raises:
            InvalidValueError: none is left.
        """
        self.check()
        self.taken += 1

    def give_back(self) -> None:
        """Count a step no more that was not taken."""
        self.taken -= 1
