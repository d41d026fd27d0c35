"""The cluster that the tests of this folder share: three nodes with one processor each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.ray_nodes import RayNodes


@pytest.fixture(scope="session")
def nodes() -> Iterator[RayNodes]:
    """The nodes; a test that ends some has nodes of its own."""
    with RayNodes(3) as running:
        yield running
