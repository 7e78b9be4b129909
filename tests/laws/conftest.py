"""Random batches for the laws, and the way to import what makes them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# tests are imported by path; this is where `law_batches` is found
sys.path.insert(0, str(Path(__file__).parent))

from law_batches import make_pairs  # noqa: E402

from luce.types import Pairs  # noqa: E402


@pytest.fixture(scope="session")
def pairs() -> Callable[..., Pairs]:
    """(seed, lengths, spread, dtype) -> random pairs of ragged responses with soft labels."""
    return make_pairs
