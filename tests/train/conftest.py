"""An exact toy model: a bigram table, small enough to train in a test and to know the answer of."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from luce.types import Branch, Group, Place, Responses

VOCABULARY = 7


class TableLearner:
    """log π(t | previous token) from a table; the reference is uniform."""

    def __init__(self, dtype: torch.dtype = torch.float32, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(VOCABULARY, VOCABULARY, generator=generator, dtype=dtype)
        self.table = nn.Parameter(0.1 * start)
        self.gain = nn.Parameter(torch.ones(1, dtype=dtype))
        self.calls = 0

    def trainable(self) -> Mapping[str, nn.Parameter]:
        return {"gain": self.gain, "table": self.table}

    def log_table(self) -> torch.Tensor:
        return (self.gain * self.table).log_softmax(-1)

    def respond(self, groups: Sequence[Group]) -> Responses:
        self.calls += 1
        log_probs = self.log_table()
        tokens, lengths = [], []
        for group in groups:
            for branch in group.branches:
                before = np.concatenate([group.prompt[-1:], branch.ids[:-1]])
                picked = log_probs[
                    torch.from_numpy(before).long(), torch.from_numpy(branch.ids).long()
                ]
                tokens.append(picked[torch.from_numpy(branch.scored)])
                lengths.append(int(branch.scored.sum()))
        policy = torch.cat(tokens)
        uniform = torch.full_like(policy, -float(np.log(VOCABULARY)))
        return Responses(policy, torch.tensor(lengths), uniform)


def branch(*ids: int) -> Branch:
    return Branch(np.array(ids, dtype=np.int32), np.ones(len(ids), dtype=bool))


def make_groups(n: int, responses: int = 2, seed: int = 0) -> list[Group]:
    draw = np.random.default_rng(seed)
    groups = []
    for i in range(n):
        branches = tuple(
            branch(*draw.integers(0, VOCABULARY, draw.integers(1, 6))) for _ in range(responses)
        )
        prompt = draw.integers(0, VOCABULARY, draw.integers(1, 5)).astype(np.int32)
        # a ranking has a grade for each response, some of them equal
        scores = tuple(float((3 * i + 2 * n) % 4) for n in range(responses if responses > 2 else 0))
        place = Place("toy.jsonl", i + 1)
        groups.append(Group(prompt, branches, id=f"g{i}", place=place, scores=scores))
    return groups


@pytest.fixture
def groups() -> list[Group]:
    return make_groups(23)
