"""Groups that are too long, by an explicit policy.

A group is too long when its prompt with its longest response exceeds `max_length` tokens. Both
responses of a pair keep one and the same prompt under every policy.

- `drop`: the group is left out.
- `left_prompt`: the prompt loses tokens at its left; a leading BOS stays; responses stay whole.
- `right_keep_eos`: responses lose tokens at their right, and still end with the end-of-turn token.
- `error`: the first such group is an error.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from luce.data.ledger import RowError
from luce.types import Branch, Group

Truncation: TypeAlias = Literal["drop", "left_prompt", "right_keep_eos", "error"]


@dataclass(frozen=True)
class Cut:
    """What became of a group.

    Attributes:
        group: the group to use; None where it is dropped.
        reason: a code for the ledger; "" where nothing happened.
        detail: the same in words, with the tokens cut.
    """

    group: Group | None
    reason: str = ""
    detail: str = ""


def truncate(group: Group, max_length: int, policy: Truncation, bos: int | None) -> Cut:
    """The group within `max_length`, by the policy; untouched where it fits.

    Raises:
        RowError: under `error`, where it does not fit.
    """
    if group.longest <= max_length:
        return Cut(group)
    length = f"{group.longest} tokens, max_length is {max_length}"
    match policy:
        case "error":
            raise RowError(group.place, "", "too_long", f"{length}. Raise data.max_length, or set "
                           "data.truncation.", group.id)  # fmt: skip
        case "drop":
            return Cut(None, "too_long", f"{length}.")
        case "left_prompt":
            return _left(group, max_length, bos, length)
        case "right_keep_eos":
            return _right(group, max_length, length)


def _left(group: Group, max_length: int, bos: int | None, length: str) -> Cut:
    room = max_length - max(len(b) for b in group.branches)
    keeps_bos = bos is not None and len(group.prompt) > 0 and int(group.prompt[0]) == bos
    if room < (2 if keeps_bos else 1):
        return Cut(None, "too_long", f"{length}; the responses alone leave no room for the prompt.")
    if keeps_bos:
        prompt = np.concatenate([group.prompt[:1], group.prompt[len(group.prompt) - room + 1 :]])
    else:
        prompt = group.prompt[len(group.prompt) - room :]
    lost = len(group.prompt) - len(prompt)
    return Cut(
        replace(group, prompt=prompt),
        "prompt_cut",
        f"{length}; {lost} tokens cut off the prompt's left.",
    )


def _right(group: Group, max_length: int, length: str) -> Cut:
    room = max_length - len(group.prompt)
    branches = [_shorten(branch, room) for branch in group.branches]
    if any(branch is None for branch in branches):
        return Cut(None, "too_long", f"{length}; the prompt alone leaves no room for a response.")
    kept = tuple(branch for branch in branches if branch is not None)
    lost = [len(a) - len(b) for a, b in zip(group.branches, kept, strict=True)]
    cut = replace(group, branches=kept)
    if len(kept) > 1 and all(np.array_equal(kept[0].ids, other.ids) for other in kept[1:]):
        return Cut(None, "identical_after_truncation", f"{length}; cut there, the responses are "
                   "the same.")  # fmt: skip
    return Cut(cut, "response_cut", f"{length}; {lost} tokens cut off the responses' right.")


def _shorten(branch: Branch, room: int) -> Branch | None:
    """The branch in `room` tokens, the last of which is its end-of-turn token; None if no text of
    the response would be left."""
    if len(branch) <= room:
        return branch
    if room < 2:
        return None
    if branch.scored[room - 2] and branch.scored[room - 1]:
        ids = np.concatenate([branch.ids[: room - 1], branch.ids[-1:]])
        scored = np.concatenate([branch.scored[: room - 1], [True]])
    else:
        # Nothing of an answer would be left here: the response ends with the turn before.
        whole = room - 1 if branch.scored[room - 1] else room
        before = np.flatnonzero(branch.scored[:whole])
        if not len(before):
            return None
        ids, scored = branch.ids[: before[-1] + 1], branch.scored[: before[-1] + 1]
    return Branch(ids.astype(np.int32), scored.astype(bool)) if scored.sum() > 1 else None
