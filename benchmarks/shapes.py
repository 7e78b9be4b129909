"""The shapes that are timed: Qwen2 networks with random weights, and a policy near its reference.

Small shapes differ in what their output layer weighs against the layers under it (head/body), the
number on which the cost of a step hangs. The large ones are those of published models.
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

POLICY_SCALE, ADAPTER_SCALE = 0.004, 0.022
"""Standard deviations of the policy's distance from its reference, and of both matrices of an
adapter: far enough that no loss is log 2, near enough that no pair is decided."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2 network.

    Attributes:
        vocabulary, hidden, layers, heads, key_heads, inner: as in its configuration.
        tied: the output layer is the embedding.
    """

    name: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    key_heads: int
    inner: int
    tied: bool = True

    @property
    def body(self) -> int:
        """Weights of the matrices of all layers."""
        keys = self.hidden * self.key_heads // self.heads
        attention = 2 * self.hidden * (self.hidden + keys)
        return self.layers * (attention + 3 * self.hidden * self.inner)

    def adapter(self, rank: int) -> int:
        """Weights of an adapter of this rank on all matrices of all layers."""
        keys = self.hidden * self.key_heads // self.heads
        ends = 4 * self.hidden + 2 * (self.hidden + keys) + 3 * (self.hidden + self.inner)
        return self.layers * rank * ends

    @property
    def head(self) -> int:
        """Weights of the output layer."""
        return self.vocabulary * self.hidden

    def config(self) -> Qwen2Config:
        """Its configuration; id 0 ends a text and pads."""
        return Qwen2Config(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_heads,
            max_position_embeddings=4096,
            tie_word_embeddings=self.tied,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
            use_cache=False,
        )


SMALL = (
    Shape("bigvocab", 131_072, 256, 6, 4, 2, 1024),
    Shape("v32k", 32_000, 256, 6, 4, 2, 1024),
    Shape("q05ratio", 16_384, 256, 12, 4, 2, 1024),
    Shape("body", 8_000, 512, 10, 8, 2, 2048),
)
LARGE = (
    Shape("qwen2.5-0.5b", 151_936, 896, 24, 14, 2, 4864),
    Shape("qwen2.5-1.5b", 151_936, 1536, 28, 12, 2, 8960),
    Shape("qwen2.5-7b", 152_064, 3584, 28, 28, 4, 18_944, tied=False),
)
TINY = (Shape("tiny", 512, 32, 2, 4, 2, 64),)
SHAPES = {shape.name: shape for shape in (*SMALL, *LARGE, *TINY)}


def reference_model(
    shape: Shape, device: str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0
) -> Qwen2ForCausalLM:
    """A network with random weights, the same for a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device):
                model = Qwen2ForCausalLM(shape.config())
        finally:
            torch.set_default_dtype(default)
    return model.requires_grad_(False)


@torch.no_grad()
def perturb(module: nn.Module, scale: float = POLICY_SCALE, fresh: bool = False) -> None:
    """Adds normal noise to every trainable matrix; `fresh`: puts it in the place of what is there.

    The noise hangs on the order of the names alone: networks of like names get the same.
    """
    for number, (_, parameter) in enumerate(sorted(module.named_parameters())):
        if parameter.requires_grad and parameter.ndim >= 2:
            generator = torch.Generator(parameter.device).manual_seed(number)
            noise = torch.empty_like(parameter, dtype=torch.float32)
            noise.normal_(0, scale, generator=generator)
            parameter.copy_(noise if fresh else parameter + noise)


def policy_model(reference: nn.Module) -> nn.Module:
    """A copy of the reference, all weights trainable and moved a little."""
    policy = copy.deepcopy(reference).requires_grad_(True)
    perturb(policy)
    return policy
