"""Annotators as matrices: P[i, j] = P(outcome i ≻ outcome j), with P[i, j] + P[j, i] = 1."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError
from luce.models.tabular.policy import TabularPolicy, mixture
from luce.objectives.scores import Score


def scores_annotator(scores: Float[Tensor, " n"]) -> Float[Tensor, "n n"]:
    """σ(Ω(i) − Ω(j)): the annotator who compares scores."""
    return torch.sigmoid(scores.unsqueeze(1) - scores)


def luce_annotator(
    p: TabularPolicy, score: Score | None = None, reference: TabularPolicy | None = None
) -> Float[Tensor, "n n"]:
    """p(i)/(p(i) + p(j)): the annotator with implicit preference distribution p.

    With a score the annotator follows that preference behaviour instead: σ(Ω_p(i) − Ω_p(j)), where
    Ω_p = f log p + g. (Dumoulin et al., 2023, arXiv:2311.14115, eq. 9 and 11.)
    """
    return scores_annotator(p.log_prob if score is None else score(p.responses(reference)))


def mixture_of_annotators(
    annotators: Sequence[Float[Tensor, "n n"]], weights: Sequence[float]
) -> Float[Tensor, "n n"]:
    """Σ wᵢ Pᵢ / Σ wᵢ: each judgement comes from one of several annotators, and nobody notes from
    which (Dumoulin et al., 2023, eq. 25)."""
    w = torch.tensor(list(weights), dtype=torch.float64)
    return torch.einsum("a,aij->ij", w / w.sum(), torch.stack(list(annotators)))


def mixture_of_densities(
    densities: Sequence[TabularPolicy], weights: Sequence[float]
) -> Float[Tensor, "n n"]:
    """The Luce annotator of Σ wᵢ pᵢ: one annotator who likes both (Dumoulin et al., eq. 24)."""
    return luce_annotator(mixture(densities, torch.tensor(list(weights), dtype=torch.float64)))


def check_annotator(preference: Float[Tensor, "n n"]) -> None:
    """An error unless P is a matrix of probabilities with P + Pᵀ = 1."""
    bad = ~((preference >= 0) & (preference <= 1))
    bad |= (preference + preference.T - 1).abs() > 1e-9
    if bool(bad.any()):
        i, j = bad.nonzero()[0].tolist()
        raise LuceError(
            f"preference[{i}, {j}] = {preference[i, j].item():g} and "
            f"preference[{j}, {i}] = {preference[j, i].item():g}: both must be probabilities, and "
            "they must sum to 1."
        )


def barker_chain(
    preference: Float[Tensor, "n n"], proposal: Float[Tensor, "n n"] | None = None
) -> Float[Tensor, "n n"]:
    """Markov chain Monte Carlo with a person as its accept step: from i, propose j with
    `proposal[i, j]` (rows sum to 1; by default any outcome alike), and go there if the annotator
    prefers j. With a symmetric proposal and a Luce annotator its stationary law is p*, for Luce's
    choice rule is Barker's acceptance. (Sanborn and Griffiths, 2007.)
    """
    n = len(preference)
    if proposal is None:
        proposal = torch.full((n, n), 1 / n, dtype=preference.dtype)
    step = proposal * preference.T
    step = step - torch.diag(step.diagonal())
    return step + torch.diag(1 - step.sum(1))


def stationary(step: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """The law that a Markov chain (rows sum to 1) keeps: p = pᵀ step. It must be the only one."""
    n = len(step)
    equations = torch.cat([step.T - torch.eye(n, dtype=step.dtype), torch.ones(1, n).to(step)])
    right = torch.zeros(n + 1, dtype=step.dtype)
    right[-1] = 1
    singular = torch.linalg.svdvals(equations)
    if singular[-1] < 1e-12 * singular[0]:
        raise LuceError("This chain has more than one stationary law: some outcomes never meet.")
    return torch.linalg.lstsq(equations, right.unsqueeze(1)).solution.squeeze(1)
