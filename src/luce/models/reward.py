"""Reward models: a number r(x, y) read at the last token of a response; only differences mean
anything."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from peft import TaskType
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from luce.errors import ModelError
from luce.models import network
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

WEIGHTS = "annotator_weights"
"""Where the configuration of a model with several heads keeps the weights of their annotators."""

PACE = 30.0
"""By so much the weights of annotators go ahead of other parameters: Adam moves each number by the
learning rate at most, and every pair tells of these few."""

PAD = "<|reward_pad|>"
"""Added to a tokenizer that has no token to pad with but its end-of-turn token."""


class RewardModel(network.Network):
    """A sequence classifier with one output, or one for each of several annotators, read at the
    last token of each response.

    Attributes:
        prior: logits of the annotators' weights over `PACE`, learnt with the heads; None with one
            head.
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
    ) -> None:
        super().__init__(module, tokenizer, path, base, lora, dropout)
        self.prior: nn.Parameter | None = None
        if self.heads > 1:
            known = getattr(self.inner.config, WEIGHTS, None) or [1 / self.heads] * self.heads
            self.prior = nn.Parameter(torch.tensor(known, device=self.device).log() / PACE)
        self.pad_token = _choose_pad(self.inner, tokenizer, terminator)
        row = probe(embedding_rows(self.inner), (tokenizer.pad_token_id,), keep_last=True)
        self._check(row, layout, *self.requested(layout))

    @property
    def heads(self) -> int:
        """How many rewards it gives a response."""
        return _head(self.inner).out_features

    @property
    def weights(self) -> Float[Tensor, " heads"]:
        """w of the heads' annotators; they sum to 1."""
        logits = self.logits
        return torch.ones(1, device=self.device) if logits is None else logits.softmax(0)

    @property
    def logits(self) -> Float[Tensor, " heads"] | None:
        """Logits of the weights; None with one head."""
        return None if self.prior is None else PACE * self.prior

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name, sorted."""
        more = {} if self.prior is None else {"annotators.prior": self.prior}
        return dict(sorted((super().trainable() | more).items()))

    def rewards(self, packed: Packed) -> Float[Tensor, " responses"]:
        """r(x, y) of each response, in float32 or better; of several heads their mean, weighted as
        the annotators are. The row must be packed with `keep_last`: the end-of-turn token is read,
        and its place comes from the row, never from token ids."""
        return self.mean(self.all_rewards(packed))

    def mean(self, rewards: Float[Tensor, "responses heads"]) -> Float[Tensor, " responses"]:
        """Σ_i w_i r_i of each response, without gradient to w."""
        return rewards[:, 0] if self.prior is None else rewards @ self.weights.detach().to(rewards)

    def all_rewards(self, packed: Packed) -> Float[Tensor, "responses heads"]:
        """r_i(x, y) of each response under each head, as `rewards`."""
        rows = lay_out(packed, self.layout, "ends")
        if self.random and not torch.is_grad_enabled():
            with network.evaluating(self.module):
                return self._read(rows)
        return self._read(rows)

    def plain_rewards(self, packed: Packed) -> Float[Tensor, "responses heads"]:
        """`all_rewards` as plain transformers computes it, which looks for the last token that is
        not padding; in evaluation mode, without gradient."""
        rows = lay_out(packed, "padded", "ends")
        with network.evaluating(self.module), self.plain_attention():
            parts = [plain_scores(self.inner, r.to(self.device)) for r in rows]
        return network.in_order(parts, rows)

    def _read(self, rows: tuple[Rows, ...]) -> Tensor:
        moved = tuple(r.to(self.device) for r in rows)
        return network.in_order([self._one(r) for r in moved], moved)

    def _one(self, rows: Rows) -> Tensor:
        head = _head(self.inner)
        with network.precision(self.device, self.autocast):
            hidden = network.hidden_states(self.inner.base_model, rows)
        with torch.autocast(self.device.type, enabled=False):
            # a reward of 8 bits orders nothing: the head is a vector, float32 costs nothing
            wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
            weight, bias = head.weight.to(wide), head.bias
            return linear(hidden.to(wide), weight, None if bias is None else bias.to(wide))

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


def plain_scores(model: Any, rows: Rows) -> Float[Tensor, "rows heads"]:
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


def _heads(path: str, heads: int | None, trust_remote_code: bool) -> dict[str, int]:
    """The setting that decides how many outputs a classifier has."""
    if heads is not None:
        return {"num_labels": heads}
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError):  # an adapter, or nothing at all: loading says which
        return {"num_labels": 1}
    known = getattr(config, WEIGHTS, None)
    return {"num_labels": len(known) if known else 1}


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
    heads: int | None = None,
) -> RewardModel:
    """A reward model from a folder or hub name: a reward model trained before, or a causal
    language model, which gets a new head drawn from `seed`.

    Args:
        dtype, lora, trust_remote_code, layout, gradient_checkpointing, device, dropout: as for
            `load_policy`; with an adapter the head is trained whole.
        terminator: the token that ends a response, if it is not the tokenizer's eos.
        heads: rewards of a response, one for each annotator of a mixture; None: as many as the
            model that is loaded has, 1 of a language model.

    Raises:
        ModelError: pickled, missing, damaged or unfit weights; no tokenizer; unknown settings.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        loaded = load(
            AutoModelForSequenceClassification,
            str(path_or_name),
            dtype=dtype,
            device=place,
            trust_remote_code=trust_remote_code,
            may_be_missing=HEADS,
            **_heads(str(path_or_name), heads, trust_remote_code),
        )
    module = loaded.module
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
    )
    if gradient_checkpointing:
        network.checkpoint_layers(module)
    return reward
