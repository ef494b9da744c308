"""A table for every test of the transport."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.transport.table import Table, laid


@pytest.fixture
def table() -> Iterator[Table]:
    """A poller, and streams on it, closed after the test."""
    yield from laid()
