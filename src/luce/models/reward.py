"""Reward models: a number r(x, y) read at the last token of a response; only differences mean
anything."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from peft import TaskType
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import cached_file

from luce.errors import ModelError
from luce.models import network
from luce.models.heads import NOBODY, PACE, SETTING, Heads, heads_of
from luce.models.layout import Layout, Rows, lay_out
from luce.models.load import LoraSettings, add_lora, embedding_rows, load
from luce.models.self_check import (
    FLOAT32_TWIN,
    HALF_TOLERANCE,
    TOLERANCE,
    first_right_layout,
    probe,
    truth_of,
)
from luce.types import Packed

HEADS = ("score", "classifier")
"""What transformers calls the output layer of a sequence classifier."""

GATE = "gate.safetensors"
"""The gate's weights beside the model's own."""

PAD = "<|reward_pad|>"
"""Added to a tokenizer that has no token to pad with but its end-of-turn token."""


class RewardModel(network.Network):
    """A sequence classifier with one output, or several, read at the last token of each response.

    Attributes:
        heads: what the outputs stand for, as it was before training.
        learnt: the numbers that go with them as training moves them (`Heads.learnt`), or None.
        gate: what weighs the dimensions of rating by the prompt's last hidden state, or None.
        pad_token: what the exported model pads with; never a token that ends a response, since
            transformers reads the rightmost token that is not padding.
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
        terminator: int | None = None,
        heads: Heads | None = None,
    ) -> None:
        super().__init__(module, tokenizer, path, base, lora, dropout)
        self.heads = heads or heads_of(getattr(self.inner.config, SETTING, None), path)
        outputs = _head(self.inner).out_features
        if outputs != self.heads.outputs:
            raise ModelError(
                f"{path}: {outputs} outputs, but {self.heads.kind} heads of "
                f"{len(self.heads.names)} need {self.heads.outputs}."
            )
        start = self.heads.learnt
        self.learnt = None if start is None else nn.Parameter(start.to(self.device))
        self.gate: nn.Linear | None = None
        if self.heads.kind == "dimensions":
            self.gate = nn.Linear(_head(self.inner).in_features, outputs, device=self.device)
            for part in self.gate.parameters():  # every dimension counts alike at the start
                nn.init.zeros_(part)
        self.pad_token = _choose_pad(self.inner, tokenizer, terminator)
        row = probe(embedding_rows(self.inner), (tokenizer.pad_token_id,), keep_last=True)
        self._check(row, layout, *self.requested(layout))

    @property
    def numbers(self) -> Float[Tensor, " names"] | None:
        """Weights or temperatures of the annotators as they stand; None where there are none."""
        return None if self.learnt is None else self.heads.settled(self.learnt)

    @property
    def logits(self) -> Float[Tensor, " names"] | None:
        """Logits of a mixture's weights; None of other heads."""
        if self.heads.kind != "mixture" or self.learnt is None:
            return None
        return PACE * self.learnt

    def settle_numbers(self, numbers: Sequence[float]) -> None:
        """Set weights or temperatures to numbers that were found in another way."""
        found = replace(self.heads, numbers=tuple(numbers)).learnt
        assert found is not None and self.learnt is not None  # heads that have numbers keep them
        with torch.no_grad():
            self.learnt.copy_(found)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name, sorted."""
        more: dict[str, nn.Parameter] = {}
        if self.learnt is not None:
            more["annotators.numbers"] = self.learnt
        if self.gate is not None:
            more |= {f"gate.{name}": p for name, p in self.gate.named_parameters()}
        return dict(sorted((super().trainable() | more).items()))

    def rewards(self, packed: Packed) -> Float[Tensor, " responses"]:
        """r(x, y) of each response for nobody in particular (`luce.models.heads`), in float32 or
        better. The row must be packed with `keep_last`: the end-of-turn token is read, and its
        place comes from the row, never from token ids."""
        rewards, gates = self.outputs(packed)
        return self.heads.of_all(rewards, self.numbers, gates)

    def rewards_for(self, packed: Packed, name: str | None) -> Float[Tensor, " responses"]:
        """The same for one of the model's annotators, or in one of its dimensions; None: for all.

        Raises:
            ModelError: the model knows nobody of that name.
        """
        rewards, gates = self.outputs(packed)
        number = NOBODY if name is None else self.heads.known(name)
        who = torch.full((len(rewards),), number, device=rewards.device)
        return self.heads.of_each(rewards, self.numbers, who, gates)

    def all_rewards(self, packed: Packed) -> Float[Tensor, "responses outputs"]:
        """Every output of each response, as `rewards`."""
        return self._run(lay_out(packed, self.layout, "ends"))

    def outputs(
        self, packed: Packed
    ) -> tuple[Float[Tensor, "responses outputs"], Float[Tensor, "responses outputs"] | None]:
        """Every output of each response, and how the gate weighs them on its prompt (rows sum to
        1); None without a gate."""
        if self.gate is None:
            return self.all_rewards(packed), None
        rows, n = lay_out(packed, self.layout, "prompts"), len(packed.lengths)
        both = self._run(rows, self.gate)
        return both[:n, : self.heads.outputs], both[n:, self.heads.outputs :].softmax(1)

    def values(self, packed: Packed) -> Float[Tensor, " scored"]:
        """The head at every scored token, as a critic reads it; float32 or better."""
        return self._run(lay_out(packed, self.layout, "scored"))[:, 0]

    def features(self, packed: Packed) -> Float[Tensor, "responses width"]:
        """The last hidden state at the end of each response, which the head multiplies; a row as
        for `rewards`. Without gradient, in evaluation mode, float32 or better."""
        rows = lay_out(packed, self.layout, "ends")
        moved = tuple(r.to(self.device) for r in rows)
        with torch.no_grad(), network.evaluating(self.module):
            return network.in_order([self._hidden(r) for r in moved], moved)

    def plain_rewards(self, packed: Packed) -> Float[Tensor, "responses outputs"]:
        """`all_rewards` as plain transformers computes it, which looks for the last token that is
        not padding; in evaluation mode, without gradient."""
        rows = lay_out(packed, "padded", "ends")
        with network.evaluating(self.module), self.plain_attention():
            parts = [plain_scores(self.inner, r.to(self.device)) for r in rows]
        return network.in_order(parts, rows)

    def _run(self, rows: tuple[Rows, ...], gate: nn.Linear | None = None) -> Tensor:
        if self.random and not torch.is_grad_enabled():
            with network.evaluating(self.module):
                return self._read(rows, gate)
        return self._read(rows, gate)

    def _read(self, rows: tuple[Rows, ...], gate: nn.Linear | None = None) -> Tensor:
        """The head, and the gate beside it if there is one, where the rows are read."""
        moved = tuple(r.to(self.device) for r in rows)
        layers = [_head(self.inner), *([gate] if gate is not None else [])]
        return network.in_order([self._one(r, layers) for r in moved], moved)

    def _one(self, rows: Rows, layers: Sequence[nn.Linear]) -> Tensor:
        wide = self._hidden(rows)
        with torch.autocast(self.device.type, enabled=False):
            return torch.cat([_applied(layer, wide) for layer in layers], 1)

    def _hidden(self, rows: Rows) -> Tensor:
        with network.precision(self.device, self.autocast):
            hidden = network.hidden_states(self.inner.base_model, rows)
        # a reward of 8 bits orders nothing: the head is a vector, float32 costs nothing
        return hidden if hidden.dtype == torch.float64 else hidden.float()

    def self_check(self, packed: Packed) -> tuple[str, ...]:
        """Repeats the check of the layout on these rows (packed with `keep_last`), without gradient
        and in float32 where memory allows; falls to a slower layout that is right and returns what
        was wrong, also kept in `layout_reason` and `warnings`."""
        self._check(packed, "auto", self.layout, self.layout_reason.split(";")[0])
        return self.warnings

    def _check(self, packed: Packed, asked: str, best: Layout, reason: str) -> None:
        twin, limit = self._in_float32()
        with network.evaluating(twin.module):
            truth = truth_of(self.path, lambda: twin.plain_rewards(packed))
            settled = first_right_layout(
                best, reason, lambda candidate: twin._checked(packed, candidate), truth, limit
            )
            off = float((twin._checked(packed, "padded") - truth).abs().max())
        if not off <= limit:
            raise ModelError(
                f"{self.path}: {type(self.inner).__name__} does not read its reward at the last "
                f"token of a response (off by {off:.2g}). Use another architecture."
            )
        self.settle(asked, *settled)

    def _checked(self, packed: Packed, layout: Layout) -> Tensor:
        rows = lay_out(packed, layout, "ends")
        with self.attention(layout):
            found = self._read(rows)
        network.check_calls(self.module, rows)
        return found

    def _in_float32(self) -> tuple["RewardModel", float]:
        twin = copy.copy(self)
        twin.autocast = None
        if self.inner.dtype in (torch.float32, torch.float64):
            return twin, TOLERANCE
        if sum(p.numel() for p in self.module.parameters()) > FLOAT32_TWIN:
            return twin, HALF_TOLERANCE
        twin.module = copy.deepcopy(self.module).float()
        return twin, TOLERANCE


def _applied(layer: nn.Linear, hidden: Tensor) -> Tensor:
    """The layer in the precision of the hidden states."""
    bias = None if layer.bias is None else layer.bias.to(hidden.dtype)
    return linear(hidden, layer.weight.to(hidden.dtype), bias)


def plain_scores(model: Any, rows: Rows) -> Float[Tensor, "rows outputs"]:
    """What a plain transformers classifier says of padded rows, in order of the rows; float32 or
    better."""
    ids, mask = rows.input_ids, rows.attention_mask
    if mask is None:
        raise ModelError("Plain transformers scores padded rows only.")
    padded = torch.where(mask.bool(), ids, model.config.get_text_config().pad_token_id)
    scores = model(input_ids=padded, attention_mask=mask).logits
    return scores if scores.dtype == torch.float64 else scores.float()


def _head(model: PreTrainedModel) -> nn.Linear:
    """The output layer, as trained."""
    for name in HEADS:
        found = getattr(model, name, None)
        while isinstance(found, nn.Module) and not isinstance(found, nn.Linear):
            # peft keeps the trained copy of a whole layer here
            found = getattr(getattr(found, "modules_to_save", None), "default", None)
        if isinstance(found, nn.Linear):
            return found
    raise ModelError(f"{type(model).__name__} has no linear head named {' or '.join(HEADS)}.")


def _choose_pad(model: PreTrainedModel, tokenizer: Any, terminator: int | None) -> str:
    """Makes tokenizer and configuration pad with a token that ends no response; its text."""
    ending = {tokenizer.eos_token_id, terminator}
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in ending:
        spare = [
            token
            for token in (tokenizer.unk_token, tokenizer.bos_token)
            if token is not None and tokenizer.convert_tokens_to_ids(token) not in ending
        ]
        if spare:
            tokenizer.pad_token = spare[0]
        else:
            tokenizer.add_special_tokens({"pad_token": PAD})
            needed = int(tokenizer.convert_tokens_to_ids(PAD)) + 1
            if needed > embedding_rows(model):
                model.resize_token_embeddings(needed, mean_resizing=False)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return tokenizer.pad_token


def _heads(path: str, asked: Heads | None, trust_remote_code: bool) -> tuple[Heads, bool]:
    """What the outputs are to stand for, and whether the weights know of it already."""
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError):  # an adapter, or nothing at all: loading says which
        return asked or Heads(), False
    setting = getattr(config, SETTING, None)
    found = heads_of(setting, path)
    if asked is None:
        return found, setting is not None
    if setting is not None and (asked.kind, asked.names) != (found.kind, found.names):
        raise ModelError(
            f"{path}: a reward model with {found.kind} heads for {', '.join(found.names)}; it "
            f"cannot go on with {asked.kind} heads for {', '.join(asked.names)}. Start from a "
            "language model."
        )
    return (found, True) if setting is not None else (asked, False)


def _load_gate(gate: nn.Linear, path: str) -> None:
    """The trained gate out of the folder of a reward model."""
    file = cached_file(path, GATE, _raise_exceptions_for_missing_entries=False)
    if file is None:
        raise ModelError(f"{path}: no {GATE}, which weighs its dimensions. The model is damaged.")
    gate.load_state_dict(load_file(file))


def load_reward_model(
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
    terminator: int | None = None,
    heads: Heads | None = None,
) -> RewardModel:
    """A reward model from a folder or hub name: a reward model trained before, or a causal
    language model, which gets a new head drawn from `seed`.

    Args:
        dtype, lora, trust_remote_code, layout, gradient_checkpointing, device, dropout: as for
            `load_policy`; with an adapter the head is trained whole.
        terminator: the token that ends a response, if it is not the tokenizer's eos.
        heads: what the outputs stand for; None: as in the model that is loaded, a single reward
            of a language model.

    Raises:
        ModelError: pickled, missing, damaged or unfit weights; no tokenizer; unknown settings.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    plan, known = _heads(str(path_or_name), heads, trust_remote_code)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        loaded = load(
            AutoModelForSequenceClassification,
            str(path_or_name),
            dtype=dtype,
            device=place,
            trust_remote_code=trust_remote_code,
            may_be_missing=HEADS,
            num_labels=plan.outputs,
        )
    module = loaded.module
    if plan.kind == "offsets" and not known:
        with torch.no_grad():  # who has said little yet stays near everybody
            for part in _head(network.inner(module)).parameters():
                part[1:] = 0
    if lora is not None:
        module = add_lora(module, lora, TaskType.SEQ_CLS, seed, path=loaded.path)
    reward = RewardModel(
        module,
        loaded.tokenizer,
        loaded.path,
        base=loaded.base,
        lora=lora,
        layout=layout,
        dropout=dropout,
        terminator=terminator,
        heads=plan,
    )
    if reward.gate is not None and known:
        _load_gate(reward.gate, loaded.path)
    if gradient_checkpointing:
        network.checkpoint_layers(module)
    return reward
