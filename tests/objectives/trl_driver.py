"""TRL 1.16's own trainers, made without their constructors and driven on given log-probabilities.

What they compute stands in their methods alone: no model, no tokenizer, no file.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from luce.numerics import log1mexp
from luce.types import Pairs, Responses, Unpaired

pytest.importorskip("trl", reason="TRL is the oracle of these files; install it with `.[dev]`")
with warnings.catch_warnings():  # its imports warn of other packages' deprecations
    warnings.simplefilter("ignore")
    from trl.experimental.cpo.cpo_trainer import CPOTrainer
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.kto_trainer import KTOTrainer
    from trl.trainer.reward_trainer import RewardTrainer


def without_constructor(trainer: type, **attributes: Any) -> Any:
    """A trainer of that class with only the attributes its loss reads."""
    made = object.__new__(trainer)
    made.accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x
    )
    made.model = SimpleNamespace(training=True, is_gradient_checkpointing=False, _modules={})
    made.args = SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=0.05)
    made.aux_loss_enabled = made.is_encoder_decoder = False
    made._metrics = {"train": defaultdict(list)}
    made._total_train_tokens, made._tp_size = 0, 1
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def padded(values: Tensor, lengths: Sequence[int]) -> Tensor:
    """Ragged tokens as rows that end in zeros."""
    return torch.nn.utils.rnn.pad_sequence(list(values.split(list(lengths))), batch_first=True)


def outputs(log_probs: Tensor, log_sum_p2: Tensor | None = None) -> SimpleNamespace:
    """What TRL's fused head returns, zero outside completions."""
    zero = torch.zeros_like(log_probs)
    return SimpleNamespace(
        log_probs=log_probs,
        log_sum_sq_probs=log_sum_p2,
        entropy=zero,
        mean_logits=zero,
        is_top1=zero.bool(),
        aux_loss=None,
    )


def completion_mask(lengths: Sequence[int]) -> Tensor:
    """One prompt token, then the completion."""
    mask = padded(torch.ones(sum(lengths), dtype=torch.long), lengths)
    return torch.cat([torch.zeros(len(lengths), 1, dtype=torch.long), mask], 1)


def both(pairs: Pairs) -> tuple[Responses, Responses]:
    return pairs.chosen, pairs.rejected


def lengths_of(pairs: Pairs) -> list[int]:
    return [int(n) for y in both(pairs) for n in y.lengths]


def trl_dpo(
    pairs: Pairs, loss_types: str | Sequence[str], weights: Sequence[float] = (), **settings: Any
) -> Tensor:
    """`DPOTrainer`'s loss of a batch, policy and reference given token by token."""
    types = [loss_types] if isinstance(loss_types, str) else list(loss_types)
    lengths = lengths_of(pairs)

    def tokens(name: str) -> Tensor:
        values = [getattr(y, name, None) for y in both(pairs)]
        if values[0] is None:
            values = [y.columns[name] for y in both(pairs)]
        return padded(torch.cat(values), lengths)

    defaults = {
        "beta": 0.1,
        "label_smoothing": 0.0,
        "f_divergence_type": "reverse_kl",
        "ld_alpha": None,
        "use_weighting": False,
    }
    trainer = without_constructor(
        DPOTrainer,
        loss_types=types,
        loss_weights=list(weights) or [1.0] * len(types),
        precompute_ref_logps=False,
        ref_model=lambda **_: outputs(tokens("reference")),
        **(defaults | settings),
    )
    mask = completion_mask(lengths)
    inputs = {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
    }
    sum_p2 = tokens("sum_p2").clamp(min=1e-300).log() if trainer.use_weighting else None
    policy = tokens("policy")
    return trainer._compute_loss(lambda **_: outputs(policy, sum_p2), inputs, False)


def two_token_logits(log_probs: Tensor) -> Tensor:
    """Logits over a vocabulary of two, of which the first has these log-probabilities, < 0."""
    return torch.stack([log_probs, log1mexp(log_probs)], -1)


def whole_batch(pairs: Pairs, prompt: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and columns of a batch: a first token, the prompt's further tokens with these
    log-probabilities, the response. Every token id is 0."""
    lengths, n = lengths_of(pairs), len(pairs)
    rows = torch.cat([pairs.chosen.policy, pairs.rejected.policy]).split(lengths)
    rows = [torch.cat([prompt, row]) for row in rows]
    filled = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1.0)
    last = torch.full((2 * n, 1), -1.0, dtype=filled.dtype)  # it predicts nothing
    logits = two_token_logits(torch.cat([filled, last], 1))
    start, ids = 1 + len(prompt), torch.zeros(2 * n, filled.shape[1] + 1, dtype=torch.long)
    labels, attention = torch.full_like(ids, -100), torch.zeros_like(ids)
    for i, length in enumerate(lengths):
        labels[i, start : start + length] = 0
        attention[i, : start + length] = 1
    columns = {"input_ids": ids, "labels": labels, "attention_mask": attention}
    batch = {f"chosen_{k}": v[:n] for k, v in columns.items()}
    return logits, batch | {f"rejected_{k}": v[n:] for k, v in columns.items()}


NO_PROMPT = torch.zeros(0, dtype=torch.float64)


def trl_cpo(pairs: Pairs, prompt: Tensor = NO_PROMPT, **settings: Any) -> Tensor:
    """`CPOTrainer`'s loss of a batch."""
    logits, batch = whole_batch(pairs, prompt)
    defaults = {"alpha": 0.0, "label_smoothing": 0.0, "simpo_gamma": 0.5, "pad_token_id": 0}
    trainer = without_constructor(CPOTrainer, **(defaults | settings))
    return trainer.get_batch_loss_metrics(lambda *_, **__: SimpleNamespace(logits=logits), batch)[0]


def trl_orpo(pairs: Pairs, beta: float, prompt: Tensor = NO_PROMPT) -> Tensor:
    """`ORPOTrainer`'s loss of a batch."""
    logits, batch = whole_batch(pairs, prompt)
    trainer = without_constructor(ORPOTrainer, beta=beta, padding_value=0)
    return trainer.get_batch_loss_metrics(lambda *_, **__: SimpleNamespace(logits=logits), batch)[0]


def trl_kto(batch: Unpaired, **settings: Any) -> Tensor:
    """`KTOTrainer`'s loss of a batch; the mismatched responses estimate its KL."""
    y, other = batch.response, batch.mismatched
    sides = {"": y} | ({"KL_": other} if other is not None else {})
    given: dict[str, Any] = {"label": batch.desirable.bool()}
    for prefix, side in sides.items():
        mask = completion_mask(side.lengths.tolist())
        given[f"{prefix}input_ids"] = torch.full_like(mask, len(prefix))
        given[f"{prefix}attention_mask"] = torch.ones_like(mask)
        given[f"{prefix}completion_mask"] = mask
        given[f"ref_{prefix}logps"] = side.reference_log_prob

    def model(input_ids: Tensor, **_: Any) -> SimpleNamespace:
        side = sides["KL_" if input_ids[0, 0] else ""]
        return outputs(padded(side.policy, side.lengths.tolist()))

    trainer = without_constructor(
        KTOTrainer, calculate_KL=other is not None, precompute_ref_logps=True, **settings
    )
    return trainer._compute_loss(model, given, False)


def trl_reward(rewards: Tensor, margin: Tensor | None, center: float | None) -> Tensor:
    """`RewardTrainer`'s loss, of chosen rewards followed by rejected ones."""
    trainer = without_constructor(
        RewardTrainer, args=SimpleNamespace(center_rewards_coefficient=center)
    )
    inputs = {"attention_mask": torch.ones(len(rewards), 2)}
    inputs |= {} if margin is None else {"margin": margin}
    logits = rewards[:, None]
    return trainer.compute_loss(lambda **_: SimpleNamespace(logits=logits), inputs)


def random_pairs(
    chosen: Sequence[int] = (2, 5, 3), rejected: Sequence[int] = (4, 1, 6), seed: int = 0
) -> Pairs:
    """Pairs of responses of these lengths in tokens, float64, with Σp² per token."""
    generator = torch.Generator().manual_seed(seed)

    def side(lengths: Sequence[int]) -> Responses:
        draws = torch.rand(3, sum(lengths), generator=generator, dtype=torch.float64)
        policy, reference, sum_p2 = -3 * draws[0], -3 * draws[1], 0.05 + 0.9 * draws[2]
        columns = {"sum_p2": sum_p2}
        return Responses(policy.requires_grad_(), torch.tensor(lengths), reference, columns)

    return Pairs(side(chosen), side(rejected))


def agree(ours: Tensor, theirs: Tensor, *leaves: Tensor, tolerance: float = 1e-9) -> None:
    """The same value and the same gradient."""
    torch.testing.assert_close(ours, theirs.to(ours.dtype), atol=tolerance, rtol=tolerance)
    for mine, other in zip(
        torch.autograd.grad(ours, leaves, retain_graph=True, materialize_grads=True),
        torch.autograd.grad(theirs, leaves, retain_graph=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=tolerance, rtol=tolerance)
