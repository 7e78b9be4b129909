"""TRL 1.16 computes the same costs and gradients where it follows the papers; where it does not,
the difference is stated here with its size.

Its own trainers are driven, made without their constructors, on random token log-probabilities.
"""

import warnings
from collections import defaultdict
from dataclasses import dataclass, fields
from types import SimpleNamespace

import pytest
import torch

from luce.objectives import Objective
from luce.objectives.presets import (
    bradley_terry,
    cdpo,
    cpo,
    dpo,
    gpo_hinge,
    ipo,
    kto,
    ln_dpo,
    orpo,
    robust_dpo,
    sft,
    simpo,
    slic,
)
from luce.types import Demonstrations, Pairs, Responses, Unpaired

pytest.importorskip("trl", reason="TRL is the oracle of this file; install it with `.[dev]`")
with warnings.catch_warnings():  # its imports warn of other packages' deprecations
    warnings.simplefilter("ignore")
    from trl.experimental.cpo.cpo_config import CPOConfig
    from trl.experimental.cpo.cpo_trainer import CPOTrainer
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.kto_trainer import KTOTrainer
    from trl.trainer.reward_trainer import RewardTrainer

CHOSEN, REJECTED = [2, 5, 3], [4, 1, 6]  # lengths in tokens


def without_constructor(trainer: type, **attributes):
    """A trainer of that class with only the attributes its loss reads."""
    made = object.__new__(trainer)
    made.accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x
    )
    made.model = SimpleNamespace(training=True)
    made.aux_loss_enabled = made.is_encoder_decoder = False
    made._metrics = {"train": defaultdict(list)}
    made._total_train_tokens, made._tp_size = 0, 1
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def padded(values: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Ragged tokens as rows that end in zeros."""
    return torch.nn.utils.rnn.pad_sequence(list(values.split(lengths)), batch_first=True)


def outputs(log_probs: torch.Tensor) -> SimpleNamespace:
    """What TRL's fused head returns, zero outside completions."""
    zero = torch.zeros_like(log_probs)
    return SimpleNamespace(
        log_probs=log_probs, entropy=zero, mean_logits=zero, is_top1=zero.bool(), aux_loss=None
    )


def completion_mask(lengths: list[int]) -> torch.Tensor:
    """One prompt token, then the completion."""
    mask = padded(torch.ones(sum(lengths), dtype=torch.long), lengths)
    return torch.cat([torch.zeros(len(lengths), 1, dtype=torch.long), mask], 1)


@pytest.fixture
def pairs() -> Pairs:
    generator = torch.Generator().manual_seed(0)

    def side(lengths: list[int]) -> Responses:
        policy, reference = -3 * torch.rand(
            2, sum(lengths), generator=generator, dtype=torch.float64
        )
        return Responses(policy.requires_grad_(), torch.tensor(lengths), reference)

    return Pairs(side(CHOSEN), side(REJECTED))


def trl_dpo(pairs: Pairs, loss_type: str, beta: float = 0.1, label_smoothing: float = 0.0):
    trainer = without_constructor(
        DPOTrainer,
        loss_types=[loss_type],
        loss_weights=[1.0],
        beta=beta,
        label_smoothing=label_smoothing,
        f_divergence_type="reverse_kl",
        ld_alpha=None,
        precompute_ref_logps=True,
        use_weighting=False,
    )
    lengths = CHOSEN + REJECTED
    tokens = padded(torch.cat([pairs.chosen.policy, pairs.rejected.policy]), lengths)
    mask = completion_mask(lengths)
    inputs = {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
        "ref_chosen_logps": pairs.chosen.reference_log_prob,
        "ref_rejected_logps": pairs.rejected.reference_log_prob,
    }
    return trainer._compute_loss(lambda **_: outputs(tokens), inputs, False)


def agree(ours: torch.Tensor, theirs: torch.Tensor, *leaves: torch.Tensor, tolerance=1e-12):
    """The same value and the same gradient."""
    torch.testing.assert_close(ours, theirs.to(ours.dtype), atol=tolerance, rtol=0)
    for mine, other in zip(
        torch.autograd.grad(ours, leaves, retain_graph=True, materialize_grads=True),
        torch.autograd.grad(theirs, leaves, retain_graph=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=tolerance, rtol=0)


SAME = {
    "sigmoid": (dpo(beta=0.3), {"beta": 0.3}),
    "hinge": (gpo_hinge(beta=0.3), {"beta": 0.3}),
    "ipo": (ipo(tau=0.3, per_token=True), {"beta": 0.3}),
    "sigmoid_norm": (ln_dpo(beta=2.0), {"beta": 2.0}),
    "robust": (robust_dpo(beta=0.3, eps=0.2), {"beta": 0.3, "label_smoothing": 0.2}),
}


@pytest.mark.parametrize("loss_type", SAME)
def test_losses_with_a_reference_agree(loss_type, pairs):
    ours, settings = SAME[loss_type]
    theirs = trl_dpo(pairs, loss_type, **settings)
    agree(ours(pairs).mean(), theirs, pairs.chosen.policy, pairs.rejected.policy)


def test_its_sigmoid_ignores_label_smoothing(pairs):
    """With ε = 0.1 it still is DPO, not cDPO."""
    theirs = trl_dpo(pairs, "sigmoid", label_smoothing=0.1)
    agree(dpo()(pairs).mean(), theirs, pairs.chosen.policy)
    assert (cdpo(eps=0.1)(pairs).mean() - theirs).abs() > 1e-3


def test_its_ipo_is_not_the_papers_sum(pairs):
    theirs = trl_dpo(pairs, "ipo")
    assert (ipo(tau=0.1)(pairs).mean() - theirs).abs() > 1


def test_its_hinge_is_not_slic(pairs):
    assert (slic(lam=0.0)(pairs).mean() - trl_dpo(pairs, "hinge")).abs() > 0.1


def test_its_sft_is_the_mean_over_tokens(pairs):
    batch = Demonstrations(pairs.chosen)
    weight = sft().weight(batch)
    ours = (sft()(batch) * weight).sum() / weight.sum()
    agree(ours, trl_dpo(pairs, "sft"), pairs.chosen.policy)


def test_its_default_beta_is_a_fiftieth_of_the_length_normalized_papers():
    defaults = {f.name: f.default for f in fields(DPOConfig)}
    assert defaults["beta"] == 0.1 and ln_dpo().parameters["beta"] == 5.0


# --- without a reference: the whole path from logits ---------------------------------------------


@dataclass
class Drawn:
    """Random logits of pairs, TRL's batch of them, and the log-probabilities they imply."""

    logits: torch.Tensor
    batch: dict[str, torch.Tensor]
    pairs: Pairs
    whole_chosen: torch.Tensor  # −log π of each token of prompt and chosen response


def draw(prompt: int, chosen: list[int], rejected: list[int], vocabulary: int = 7) -> Drawn:
    generator = torch.Generator().manual_seed(1)
    width = prompt + max(chosen + rejected)
    n = len(chosen)
    ids = torch.randint(vocabulary, (2 * n, width), generator=generator)
    logits = torch.randn(2 * n, width, vocabulary, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    log_prob = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    labels, attention = torch.full_like(ids, -100), torch.zeros_like(ids)
    for i, length in enumerate(chosen + rejected):
        labels[i, prompt : prompt + length] = ids[i, prompt : prompt + length]
        attention[i, : prompt + length] = 1
    columns = {"input_ids": ids, "labels": labels, "attention_mask": attention}
    batch = {f"chosen_{k}": v[:n] for k, v in columns.items()}
    batch |= {f"rejected_{k}": v[n:] for k, v in columns.items()}

    def side(first: int, lengths: list[int]) -> Responses:
        rows = [log_prob[first + i, prompt - 1 :][:length] for i, length in enumerate(lengths)]
        return Responses(torch.cat(rows), torch.tensor(lengths))

    whole = [-log_prob[i, : prompt - 1 + length] for i, length in enumerate(chosen)]
    return Drawn(logits, batch, Pairs(side(0, chosen), side(n, rejected)), torch.cat(whole))


def trl_cpo(drawn: Drawn, **settings) -> torch.Tensor:
    defaults = {"alpha": 0.0, "label_smoothing": 0.0, "simpo_gamma": 0.5, "pad_token_id": 0}
    trainer = without_constructor(CPOTrainer, **(defaults | settings))
    model = lambda *_, **__: SimpleNamespace(logits=drawn.logits)  # noqa: E731
    return trainer.get_batch_loss_metrics(model, drawn.batch)[0]


def trl_orpo(drawn: Drawn, beta: float) -> torch.Tensor:
    trainer = without_constructor(ORPOTrainer, beta=beta, padding_value=0)
    model = lambda *_, **__: SimpleNamespace(logits=drawn.logits)  # noqa: E731
    return trainer.get_batch_loss_metrics(model, drawn.batch)[0]


def test_simpo_agrees_where_its_likelihood_term_is_switched_off():
    drawn = draw(2, CHOSEN, REJECTED)
    theirs = trl_cpo(drawn, loss_type="simpo", beta=2.0, simpo_gamma=1.0, cpo_alpha=0.0)
    agree(simpo(beta=2.0, gamma=1.0)(drawn.pairs).mean(), theirs, drawn.logits)


def test_its_defaults_are_not_simpos():
    """β 0.1 and γ 0.5 make γ/β = 5, where the paper has 0.1 to 0.8; and α = 1 adds a likelihood."""
    defaults = {f.name: f.default for f in fields(CPOConfig)}
    assert (defaults["beta"], defaults["simpo_gamma"], defaults["cpo_alpha"]) == (0.1, 0.5, 1.0)


def test_cpo_agrees_on_one_pair():
    drawn = draw(2, [3], [5])
    theirs = trl_cpo(drawn, loss_type="sigmoid", beta=0.3, cpo_alpha=0.7)
    agree(cpo(beta=0.3, alpha=0.7)(drawn.pairs).mean(), theirs, drawn.logits)


def test_its_cpo_weighs_the_likelihood_of_a_batch_by_length():
    drawn = draw(2, CHOSEN, REJECTED)
    theirs = trl_cpo(drawn, loss_type="sigmoid", beta=0.3, cpo_alpha=0.7)
    preference = cpo(beta=0.3, alpha=0.0)(drawn.pairs).mean()
    token_mean = -drawn.pairs.chosen.policy.mean()
    agree(preference + 0.7 * token_mean, theirs, drawn.logits)
    assert (cpo(beta=0.3, alpha=0.7)(drawn.pairs).mean() - theirs).abs() > 0.01


def test_orpo_agrees_on_one_pair_after_a_prompt_of_one_token():
    """Its odds are float32, whatever the input."""
    drawn = draw(1, [3], [5])
    agree(
        orpo(lam=0.2)(drawn.pairs).mean(),
        trl_orpo(drawn, beta=0.2),
        drawn.logits,
        tolerance=1e-6,
    )


def test_its_orpo_learns_the_prompt_too():
    drawn = draw(4, CHOSEN, REJECTED)
    theirs = trl_orpo(drawn, beta=0.2)
    bare = orpo(lam=0.2)
    preference = Objective(bare.score, bare.loss, scale=bare.scale)(drawn.pairs).mean()
    agree(preference + drawn.whole_chosen.mean(), theirs, drawn.logits, tolerance=1e-6)
    assert (bare(drawn.pairs).mean() - theirs).abs() > 0.01


def test_its_orpo_has_no_gradient_where_a_response_is_certain():
    """nan there, finite here."""
    trainer = without_constructor(ORPOTrainer, beta=0.1)
    certain = torch.zeros(1, requires_grad=True)
    losses = trainer.odds_ratio_loss(certain, torch.tensor([-1.0]))[0]
    (theirs,) = torch.autograd.grad(losses.sum(), certain)
    assert theirs.isnan().all()
    y, other = (Responses(x, torch.tensor([1])) for x in (certain, torch.tensor([-1.0])))
    (ours,) = torch.autograd.grad(orpo()(Pairs(y, other)).sum(), certain)
    assert ours.isfinite().all()


# --- unpaired feedback and reward models ---------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 4.0], ids=["negative-kl", "positive-kl"])
def test_kto_agrees_given_the_baseline_of_its_batch(shift, pairs):
    """Its z₀ is the mean of one batch, luce's a running mean; both are clamped at 0."""
    y, other = pairs.chosen, pairs.rejected
    other = Responses(other.policy.detach() + shift, other.lengths, other.reference)
    desirable = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    trainer = without_constructor(
        KTOTrainer,
        beta=0.3,
        loss_type="kto",
        desirable_weight=1.2,
        undesirable_weight=0.8,
        calculate_KL=True,
        precompute_ref_logps=True,
    )
    masks = completion_mask(CHOSEN), completion_mask(REJECTED)
    batch = {"label": desirable.bool(), "ref_logps": y.reference_log_prob}
    batch["ref_KL_logps"] = other.reference_log_prob
    for prefix, mask in zip(("", "KL_"), masks, strict=True):
        batch[f"{prefix}input_ids"] = torch.zeros_like(mask)
        batch[f"{prefix}attention_mask"] = torch.ones_like(mask)
        batch[f"{prefix}completion_mask"] = mask

    def model(input_ids, **_):
        mine = input_ids.shape == masks[0].shape
        return outputs(padded(y.policy, CHOSEN) if mine else padded(other.policy, REJECTED))

    theirs = trainer._compute_loss(model, batch, False)
    objective = kto(beta=0.3, lam_d=1.2, lam_u=0.8)
    unpaired = Unpaired(y, desirable, other)
    kl = objective.statistics(unpaired)["kl"].mean().item()
    assert (kl > 0) == (shift > 0)
    agree(objective(Unpaired(y, desirable, other, {"kl": kl})).mean(), theirs, y.policy)


def test_reward_models_agree_with_margin_and_centering():
    generator = torch.Generator().manual_seed(2)
    rewards = torch.randn(6, 1, generator=generator, dtype=torch.float64).requires_grad_()
    margin = torch.tensor([0.5, 0.0, 1.5], dtype=torch.float64)
    trainer = without_constructor(
        RewardTrainer, args=SimpleNamespace(center_rewards_coefficient=0.01)
    )
    inputs = {"margin": margin, "attention_mask": torch.ones(6, 2)}
    theirs = trainer.compute_loss(lambda **_: SimpleNamespace(logits=rewards), inputs)
    nothing, lengths = torch.zeros(0, dtype=torch.float64), torch.ones(3, dtype=torch.long)
    sides = [Responses(nothing, lengths, reward=part) for part in rewards[:, 0].split(3)]
    agree(bradley_terry(center=0.01)(Pairs(*sides, margin=margin)).mean(), theirs, rewards)
