"""Causal language models as policies: packed rows in, log-probabilities of scored tokens out."""

import copy
import inspect
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from peft import TaskType
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from luce.errors import ModelError, did_you_mean
from luce.models import network
from luce.models.attention import best_layout
from luce.models.layout import LAYOUTS, Layout, Rows, lay_out
from luce.models.load import LoraSettings, add_lora, load
from luce.models.logprob import linear_log_prob
from luce.models.self_check import (
    FLOAT32_TWIN,
    HALF_TOLERANCE,
    TOLERANCE,
    deviation,
    first_right_layout,
    probe,
)
from luce.numerics import segment_sum
from luce.types import Packed

HeadMode: TypeAlias = Literal["kernel", "forward"]
"""How hidden states become log-probabilities: `kernel` never holds the logits of more than a chunk
of tokens; `forward` is the network's own forward, at scored positions only."""


@dataclass(frozen=True)
class Head:
    """The output layer of a network: logits = softcap(scale · (W h + b)).

    Attributes:
        backbone: what makes the hidden states.
        linear: W and b.
        softcap, scale: None and 1 for most.
    """

    backbone: nn.Module
    linear: nn.Linear
    softcap: float | None
    scale: float


def find_head(model: PreTrainedModel) -> Head | str:
    """The output layer as the kernel can use it, or why it cannot."""
    linear = model.get_output_embeddings()
    if type(linear) is not nn.Linear:
        return f"the output layer is a {type(linear).__name__}"
    backbone = model.get_decoder()
    if backbone is None or backbone is model:
        return f"{type(model).__name__} has no backbone of its own"
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0
    scaling = getattr(config, "logits_scaling", None) or 1.0
    softcap = getattr(config, "final_logit_softcapping", None)
    return Head(backbone, linear, softcap, float(scale) / float(scaling))


class CausalPolicy:
    """A causal language model that gives log-probabilities of packed rows.

    The network stays in training mode, with every dropout at 0 unless asked for; where no gradient
    is recorded it runs in evaluation mode.

    Attributes:
        module: the network; a peft model where it has an adapter.
        tokenizer: the model's own.
        path, base: what was loaded, and the model under the adapter (`path` itself without one).
        lora: the settings of a fresh adapter, or None.
        layout, layout_reason: how rows are shown to the network, and why so.
        head, head_reason: how hidden states become log-probabilities, and why so.
        warnings: what the self-check found wrong; for the caller to print.
        silenced: the dropouts that were set to 0.
        autocast: dtype of mixed precision, or None; may be set at any time.
    """

    def __init__(
        self,
        module: nn.Module,
        tokenizer: Any,
        path: str,
        *,
        base: str | None = None,
        lora: LoraSettings | None = None,
        layout: str = "auto",
        dropout: bool = False,
    ) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.path = path
        self.base = base or path
        self.lora = lora
        self.autocast: torch.dtype | None = None
        keeps_adapter_dropout = lora is not None and lora.dropout > 0
        self.silenced = () if dropout or keeps_adapter_dropout else network.silence_dropout(module)
        module.train()
        self._random = network.has_dropout(module)
        self.head: HeadMode = "forward"
        self.head_reason = ""
        self.layout: Layout = "padded"
        self.layout_reason = ""
        self.warnings: tuple[str, ...] = ()
        self._choose(layout)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> str:
        """The precision of its numbers, by name: of the weights, and of products under autocast."""
        weights = str(network.inner(self.module).dtype).removeprefix("torch.")
        mixed = "" if self.autocast is None else f"+{self.autocast}".replace("torch.", "")
        return weights + mixed

    def log_probs(self, packed: Packed) -> Float[Tensor, " scored"]:
        """log π of each scored token given its prompt and the response so far, in nats, response
        after response; float32, or float64 from a float64 network."""
        rows = lay_out(packed, self.layout, "scored")
        if self._random and not torch.is_grad_enabled():
            with network.evaluating(self.module):
                return self._read(rows, packed.targets, self.head)
        return self._read(rows, packed.targets, self.head)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name, sorted."""
        return network.trainable(self.module)

    def hash(self, adapters: bool = True) -> str:
        """sha256 over all parameters, adapters included unless told otherwise; the same for a
        model by itself and for the base inside an adapter."""
        return network.parameter_hash(self.module, adapters)

    def adapter_disabled(self) -> AbstractContextManager[None]:
        """The base model, while the context lasts; ModelError where there is no adapter."""
        return network.adapter_disabled(self.module)

    def plain_attention(self) -> AbstractContextManager[None]:
        """The network with transformers' own attention, as generation needs it."""
        return network.with_attention(self.module, "padded")

    def _read(self, rows: tuple[Rows, ...], targets: Tensor, head: HeadMode) -> Tensor:
        device = self.device
        targets = targets.to(device, non_blocking=True)
        moved = tuple(r.to(device) for r in rows)
        one = self._kernel if head == "kernel" else self._forward
        return network.in_order([one(r, targets[r.order]) for r in moved], moved)

    def _kernel(self, rows: Rows, targets: Tensor) -> Tensor:
        head = find_head(network.inner(self.module))
        if isinstance(head, str):
            raise ModelError(f"{self.path}: no log-probability kernel: {head}.")
        with network.precision(self.device, self.autocast):
            hidden = network.hidden_states(head.backbone, rows)
        if self.autocast is not None:
            hidden = hidden.to(self.autocast)
        weight, bias = head.linear.weight, head.linear.bias
        return linear_log_prob(hidden, weight, targets, bias, head.softcap, head.scale)

    def _forward(self, rows: Rows, targets: Tensor) -> Tensor:
        model = network.inner(self.module)
        width = rows.input_ids.shape[1]
        given = network.inputs(rows)
        columns, place = torch.unique(rows.read % width, return_inverse=True)
        if "logits_to_keep" in inspect.signature(model.forward).parameters:
            given["logits_to_keep"] = columns
        with network.precision(self.device, self.autocast):
            logits = model(**given).logits
        if "logits_to_keep" not in given:
            logits = logits[:, columns]
        logits = logits[rows.read // width, place]
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return wide.log_softmax(-1).gather(1, targets.long()[:, None])[:, 0]

    def _choose(self, asked: str) -> None:
        """Layout and head, by configuration and self-check."""
        if asked != "auto" and asked not in LAYOUTS:
            raise ModelError(f"model.layout: no {asked!r}. {did_you_mean(asked, LAYOUTS)}")
        best, reason = best_layout(network.inner(self.module), self._random)
        pad = self.tokenizer.pad_token_id
        vocabulary = network.inner(self.module).get_input_embeddings().weight.shape[0]
        row = probe(vocabulary, () if pad is None else (pad,))
        if asked != "auto":
            if LAYOUTS.index(asked) < LAYOUTS.index(best):
                raise ModelError(
                    f"model.layout: {asked} does not work for {self.path}: {reason}. "
                    "Use `layout: auto`."
                )
            best, reason = asked, "asked for"  # type: ignore[assignment]
        self._check(row, best, reason, None)
        if asked not in ("auto", self.layout):
            raise ModelError(f"model.layout: {self.layout_reason}. Use `layout: auto`.")

    def _check(self, packed: Packed, best: Layout, reason: str, tolerance: float | None) -> None:
        twin, limit = _in_float32(self)
        limit = limit if tolerance is None else tolerance
        with network.evaluating(twin.module):
            truth = twin._sums(packed, "padded", "forward")
            head = find_head(network.inner(self.module))
            self.head, self.head_reason = "forward", ""
            if isinstance(head, str):
                self.head_reason = head
            else:
                off = deviation(lambda: twin._sums(packed, "padded", "kernel"), truth)
                if isinstance(off, float) and off <= limit:
                    self.head, self.head_reason = "kernel", f"checked to {off:.1e} nats"
                else:
                    self.head_reason = f"the kernel is off by {off}"
            self.layout, self.layout_reason, self.warnings = first_right_layout(
                best, reason, lambda layout: twin._sums(packed, layout, self.head), truth, limit
            )
        model = network.inner(self.module)
        model.set_attn_implementation(network.attention_for(self.module, self.layout))

    def _sums(self, packed: Packed, layout: Layout, head: HeadMode) -> Tensor:
        """log π(y|x) of each response this way; an error where attention layers were passed by."""
        rows = lay_out(packed, layout, "scored")
        with network.with_attention(self.module, layout):
            tokens = self._read(rows, packed.targets, head)
        network.check_calls(self.module, rows)
        return segment_sum(tokens, packed.lengths.to(tokens.device))


def self_check(policy: CausalPolicy, packed: Packed, tolerance: float = 1e-2) -> tuple[str, ...]:
    """Repeats the check of head and layout on these rows, without gradient, in float32 where
    memory allows; falls to a slower path that is right and returns what was wrong, also kept in
    `policy.layout_reason` and `policy.warnings`.

    Args:
        tolerance: nats per response between the layout and padded rows.
    """
    policy._check(packed, policy.layout, policy.layout_reason.split(";")[0], tolerance)
    return policy.warnings


def _in_float32(policy: CausalPolicy) -> tuple[CausalPolicy, float]:
    """The policy to check on, in float32 where that is small enough, and the tolerance."""
    if network.inner(policy.module).dtype in (torch.float32, torch.float64):
        twin = copy.copy(policy)
        twin.autocast = None
        return twin, TOLERANCE
    if sum(p.numel() for p in policy.module.parameters()) > FLOAT32_TWIN:
        return policy, HALF_TOLERANCE
    twin = copy.copy(policy)
    twin.module = copy.deepcopy(policy.module).float()
    twin.autocast = None
    return twin, TOLERANCE


def load_policy(
    path_or_name: str,
    *,
    dtype: str = "auto",
    lora: LoraSettings | None = None,
    trust_remote_code: bool = False,
    layout: str = "auto",
    gradient_checkpointing: bool = False,
    device: torch.device | str | None = None,
    dropout: bool = False,
    seed: int = 0,
) -> CausalPolicy:
    """A policy from a folder or hub name of a causal language model, or of an adapter on one.

    Args:
        dtype: auto (as stored), float32, bfloat16, float16.
        lora: train a fresh adapter, drawn from `seed`, instead of all weights.
        trust_remote_code: run model code that comes with the weights.
        layout: auto, or one of LAYOUTS; an error where the network cannot do what is asked.
        gradient_checkpointing: store less, compute layers again in the backward pass.
        device: default: the GPU where there is one.
        dropout: keep the dropout of the model's configuration; otherwise it is set to 0.

    Raises:
        ModelError: pickled, missing, damaged or unfit weights; no tokenizer; unknown settings.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    loaded = load(
        AutoModelForCausalLM,
        str(path_or_name),
        dtype=dtype,
        device=place,
        trust_remote_code=trust_remote_code,
    )
    module = loaded.module
    if lora is not None:
        if not isinstance(module, PreTrainedModel):
            raise ModelError(
                f"{path_or_name} is an adapter already, and `lora` asks for another one. "
                "Leave `lora` out to train it further, or export it merged first."
            )
        module = add_lora(module, lora, TaskType.CAUSAL_LM, seed)
    policy = CausalPolicy(
        module,
        loaded.tokenizer,
        loaded.path,
        base=loaded.base,
        lora=lora,
        layout=layout,
        dropout=dropout,
    )
    if gradient_checkpointing:
        network.checkpoint_layers(module)
    return policy
