"""Memory that ran out, told with the rows that it ran out on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from luce.errors import LuceError
from luce.types import Group

SAID = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says on a GPU and on a CPU, in an error of no class of its own on the latter."""


def ran_out(error: BaseException) -> bool:
    """Whether an error means that memory ran out."""
    return isinstance(error, MemoryError) or any(said in str(error) for said in SAID)


@contextmanager
def blamed(groups: Sequence[Group]) -> Iterator[None]:
    """While these groups are computed together.

    Raises:
        LuceError: memory ran out; names their longest row, the tokens and the settings to lower.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        longest = max(groups, key=lambda group: group.longest)
        rows = f"{len(groups)} rows" if len(groups) > 1 else "1 row"
        raise LuceError(
            f"{longest.place}: memory ran out on a micro-batch of {rows} with "
            f"{sum(group.tokens for group in groups):,} tokens; this row is the longest, "
            f"{longest.longest:,} tokens (id {longest.id}). Lower train.max_tokens_per_batch or "
            "data.max_length, or set train.gradient_checkpointing."
        ) from error
