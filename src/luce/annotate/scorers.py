"""Models as scorers: text in, one grade for each response out.

A reward model gives its reward; a policy the score β·log π/π_ref that its training made its
implicit reward (Rafailov et al., 2023, arXiv:2305.18290, eq. 6), or β·log π without a reference:
the annotators of Dumoulin et al. (2023, arXiv:2311.14115, section 3) are these under the Luce rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from luce.data.pack import micro_batches, pack
from luce.data.template import Renderer
from luce.errors import LuceError
from luce.models.policy import CausalPolicy
from luce.models.reward import RewardModel
from luce.objectives import scores
from luce.objectives.needs import NEEDS, needs
from luce.objectives.score import Score
from luce.types import Demonstration, Group, Packed, Place, Responses, Text

MOST_TOKENS = 8192
"""Tokens of a forward pass, unless said otherwise."""

Asked: TypeAlias = tuple[Text, Sequence[Text]]
"""A prompt and the responses to it that are to be graded."""


@dataclass(frozen=True)
class ModelScorer:
    """A `luce.types.Scorer` that runs a model, with many prompts at once where asked.

    What it gives does not depend on what is graded beside: rows are packed without padding.

    Attributes:
        renderer: renders text as training did.
        grade: a packed row → one grade for each of its responses.
        keep_last: whether `grade` reads the end-of-turn token as an input, as reward models do.
        max_tokens: of a forward pass.
    """

    renderer: Renderer
    grade: Callable[[Packed], Tensor]
    keep_last: bool
    max_tokens: int = MOST_TOKENS

    def __call__(self, prompt: Text, responses: Sequence[Text]) -> list[float]:
        """One grade for each response; only differences mean anything."""
        return self.many([(prompt, responses)])[0]

    def many(self, asked: Sequence[Asked]) -> list[list[float]]:
        """The grades of every prompt's responses, in order.

        Raises:
            RowError: a prompt or a response that the template cannot render, an empty one among
                them.
        """
        return by_response(asked, self.renderer, self.grade, self.keep_last, self.max_tokens)


def by_response(
    asked: Sequence[Asked],
    renderer: Renderer,
    read: Callable[[Packed], Tensor],
    keep_last: bool,
    max_tokens: int = MOST_TOKENS,
) -> list[list[Any]]:
    """What a model reads of every prompt's responses, in order.

    Args:
        read: a packed row → a number, or a vector, for each of its responses.
        keep_last, max_tokens: as of `ModelScorer`.

    Raises:
        RowError: a prompt or a response that the template cannot render, an empty one among them.
    """
    groups = [graded(renderer, i, *one) for i, one in enumerate(asked)]
    found: list[list[Any]] = [[] for _ in groups]
    filled = [i for i, group in enumerate(groups) if group is not None]
    whole = [group for group in groups if group is not None]
    for part in micro_batches(whole, max_tokens):
        packed = pack([whole[i] for i in part], keep_last=keep_last)
        values = iter(read(packed).tolist())
        for i in part:
            found[filled[i]] = [next(values) for _ in whole[i].branches]
    return found


def graded(
    renderer: Renderer, number: int, prompt: Text, responses: Sequence[Text]
) -> Group | None:
    """The prompt with all its responses as branches, equal ones too; None where there is none."""
    place = Place("graded", number + 1)
    rendered = [
        renderer.group(Demonstration(prompt=prompt, completion=text, place=place, id=str(place)))
        for text in responses
    ]
    if not rendered:
        return None
    return replace(rendered[0], branches=tuple(group.branches[0] for group in rendered))


def reward_scorer(
    model: RewardModel,
    renderer: Renderer,
    max_tokens: int = MOST_TOKENS,
    annotator: str | None = None,
) -> ModelScorer:
    """The rewards of a reward model: those for nobody in particular, or for one of its annotators
    or in one of its dimensions (`luce.models.heads`; the annotators of a mixture and the members of
    an ensemble are called 1, 2, …).

    Raises:
        ModelError: the model knows no annotator of that name.
    """
    if annotator is not None:
        model.heads.known(annotator)

    def grade(packed: Packed) -> Tensor:
        with torch.no_grad():
            return model.rewards_for(packed.to(model.device), annotator).cpu()

    return ModelScorer(renderer, grade, keep_last=True, max_tokens=max_tokens)


def policy_scorer(
    policy: CausalPolicy,
    renderer: Renderer,
    reference: CausalPolicy | None = None,
    beta: float = 1.0,
    per_token: bool = False,
    max_tokens: int = MOST_TOKENS,
) -> ModelScorer:
    """β·log π(y|x), or β·log π/π_ref: the implicit reward of a policy that DPO trained with this β.

    Args:
        reference: π_ref; None: log π by itself.
        per_token: of the mean over the response's tokens, not of their sum (the length-normalised
            Luce rule, Dumoulin et al., 2023, eq. 26).

    Raises:
        LuceError: the reference reads other tokens than the policy.
    """
    if reference is None:
        score = scores.mean_log_prob(beta) if per_token else scores.log_prob(beta)
    else:
        score = scores.mean_log_ratio(beta) if per_token else scores.log_ratio(beta)
    return score_scorer(policy, renderer, score, reference, max_tokens)


def score_scorer(
    policy: CausalPolicy,
    renderer: Renderer,
    score: Score,
    reference: CausalPolicy | None = None,
    max_tokens: int = MOST_TOKENS,
) -> ModelScorer:
    """Ω(y) of any score under a policy: under the Luce rule, the annotator who is described by that
    preference behaviour (Dumoulin et al., 2023, eq. 11).

    Args:
        score: looks at log π, and at log π_ref where there is a reference; each response is graded
            for itself.
        reference: π_ref, for scores that compare with it.

    Raises:
        LuceError: the score needs what is not given, or the reference reads other tokens than the
            policy.
    """
    if reference is not None and reference.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise LuceError(
            f"policy_scorer: {reference.path} reads other tokens than {policy.path}. Give the "
            "reference that the policy was trained against."
        )
    missing = score.needs - (needs() if reference is None else needs("reference"))
    if missing:
        wanted = "; ".join(NEEDS[name] for name in sorted(missing))
        raise LuceError(f"score_scorer: the score {score.term} needs {wanted}.")

    def grade(packed: Packed) -> Tensor:
        with torch.no_grad():
            tokens, other = policy.log_probs(packed.to(policy.device)), None
            if reference is not None:
                other = reference.log_probs(packed.to(reference.device)).to(tokens.device)
            return score(Responses(tokens, packed.lengths.to(tokens.device), other)).cpu()

    return ModelScorer(renderer, grade, keep_last=False, max_tokens=max_tokens)
