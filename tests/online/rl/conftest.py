"""A world so small that every response can be listed: three tokens, at most two to a response."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from luce.data.pack import pack
from luce.data.template import Renderer
from luce.models.engine import SamplingSettings
from luce.models.policy import CausalPolicy
from luce.models.reference import open_reference
from luce.models.tabular.bandit import KlBandit
from luce.models.tabular.policy import TabularPolicy, actions
from luce.numerics import segment_sum
from luce.online.rl import Actors, Plan, Prompt, RLTrainer, Rollout, RolloutSettings
from luce.train.settings import TrainSettings
from luce.types import Branch, Group, Place

END = 0
VOCABULARY = 3


def responses(longest: int) -> list[tuple[int, ...]]:
    """Every response of at most so many tokens: it stops after `END`, or is cut."""
    found: list[tuple[int, ...]] = []
    for length in range(1, longest + 1):
        for ids in product(range(VOCABULARY), repeat=length):
            if END not in ids[:-1] and (ids[-1] == END or length == longest):
                found.append(ids)
    return found


def small_policy(tokenizer, seed: int, hidden: int = 8) -> CausalPolicy:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=32,
        bos_token_id=None, eos_token_id=END, pad_token_id=END,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = LlamaForCausalLM(config).double()
        for parameter in network.parameters():
            parameter.data.add_(0.4 * torch.randn_like(parameter))
    return CausalPolicy(network, tokenizer, "small")


@dataclass
class World:
    """A policy, its reference, a reward for each response, and the exact answers."""

    policy: CausalPolicy
    reference: CausalPolicy
    renderer: Renderer
    prompt: Prompt
    longest: int
    reward: Tensor
    folder: Path

    @property
    def every(self) -> list[tuple[int, ...]]:
        return responses(self.longest)

    def group(self, chosen) -> Group:
        every = self.every
        branches = tuple(
            Branch(np.array(every[i], np.int32), np.ones(len(every[i]), bool)) for i in chosen
        )
        ids = np.array(self.prompt.ids, np.int32)
        return Group(ids, branches, self.prompt.id, self.prompt.place)

    def tokens(self, policy: CausalPolicy, chosen) -> Tensor:
        return policy.log_probs(pack([self.group(chosen)]))

    def tabular(self, policy: CausalPolicy) -> TabularPolicy:
        lengths = [len(ids) for ids in self.every]
        tokens = self.tokens(policy, range(len(self.every)))
        return actions(len(lengths), lengths).normalize(segment_sum(tokens, torch.tensor(lengths)))

    def bandit(self, beta: float, reward: Tensor | None = None) -> KlBandit:
        with torch.no_grad():
            reference = self.tabular(self.reference)
        return KlBandit(reference, self.reward if reward is None else reward, beta)

    def ended(self, chosen) -> Tensor:
        return torch.tensor([self.every[i][-1] == END for i in chosen])

    def rollout(self, chosen, value: Tensor | None = None) -> Rollout:
        """The rollout in which these responses were sampled."""
        chosen = list(chosen)
        with torch.no_grad():
            behavior = self.tokens(self.policy, chosen)
            reference = self.tokens(self.reference, chosen)
        return Rollout(
            prompt=self.prompt,
            group=self.group(chosen),
            texts=tuple(str(self.every[i]) for i in chosen),
            reward=self.reward[chosen],
            ended=self.ended(chosen),
            sampler=behavior,
            behavior=behavior,
            entropy=torch.zeros(len(chosen), dtype=behavior.dtype),
            reference=reference,
            value=value,
        )

    def actors(self, critic=None) -> Actors:
        """The scorer knows a response by its text."""
        of = {
            self.renderer.response_text(ids): float(reward)
            for ids, reward in zip(self.every, self.reward, strict=True)
        }
        assert len(of) == len(self.every)

        def grade(asked):
            return [[of[text] for text in texts] for _, texts in asked]

        reference = open_reference("initial", self.reference)
        return Actors(self.policy, self.renderer, grade, reference, critic)

    def trainer(self, method, critic=None, n: int = 2, **train) -> RLTrainer:
        sampling = SamplingSettings(max_new_tokens=self.longest)
        return RLTrainer(
            self.actors(critic),
            method,
            [self.prompt],
            Plan(1, 1),
            RolloutSettings(n, sampling),
            TrainSettings(batch_size=1, **train),
            self.folder,
        )


@pytest.fixture(scope="session")
def small_tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({"<end>": 0, "a": 1, "b": 2}, unk_token="<end>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>")


@pytest.fixture
def make_world(small_tokenizer, tmp_path) -> Callable[[int], World]:
    """A world whose responses have at most so many tokens."""

    def make(longest: int) -> World:
        draw = torch.Generator().manual_seed(3)
        reward = torch.randn(len(responses(longest)), generator=draw, dtype=torch.float64)
        return World(
            small_policy(small_tokenizer, 1),
            small_policy(small_tokenizer, 2),
            Renderer(small_tokenizer, render="plain"),
            Prompt("p", Place("prompts.jsonl", 1), "a b", (1, 2)),
            longest,
            reward,
            tmp_path,
        )

    return make


@pytest.fixture
def world(make_world) -> World:
    return make_world(2)
