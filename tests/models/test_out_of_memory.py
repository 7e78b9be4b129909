"""Memory that runs out is told with the rows that it ran out on; other errors are left alone."""

import numpy as np
import pytest

from luce.errors import LuceError
from luce.models.out_of_memory import blamed
from luce.types import Branch, Group, Place


def group(line: int, tokens: int) -> Group:
    branch = Branch(np.ones(tokens, dtype=np.int32), np.ones(tokens, dtype=bool))
    prompt = np.ones(2, dtype=np.int32)
    return Group(prompt, (branch,), id=f"r{line}", place=Place("p.jsonl", line))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_the_longest_row_is_named(error: Exception) -> None:
    said = r"p.jsonl:2: .* 3 rows with 17 tokens; .* longest, 7 tokens \(id r2\)"
    with pytest.raises(LuceError, match=said), blamed([group(1, 3), group(2, 5), group(3, 3)]):
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), blamed([group(1, 3)]):
        raise RuntimeError("shapes differ")
