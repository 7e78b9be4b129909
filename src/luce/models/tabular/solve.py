"""The optimum of any objective, by minimizing its mean cost over the logits of exact policies.

Objectives see nothing but `Responses`, so the functions that train a language model are minimized
here, as they are.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.errors import LuceError
from luce.models.tabular.annotators import check_annotator
from luce.models.tabular.optimum import NO_OPTIMUM
from luce.models.tabular.policy import Outcomes, TabularPolicy
from luce.types import Batch, CostFunction, Pairs


def minimize(
    cost: Callable[..., Float[Tensor, ""]],
    start: Sequence[Float[Tensor, "..."]],
    tolerance: float | None = 1e-8,
    steps: int = 500,
    newton: int = 20,
) -> list[Float[Tensor, "..."]]:
    """Tensors that minimize `cost(*tensors)`, from `start`: L-BFGS, then Newton steps with the
    exact Hessian for the last digits, as many as `newton` says.

    An error unless the largest entry of the gradient ends up under `tolerance`, and the next Newton
    step would change nothing. With `None` any end is taken: a cost with corners need not be flat
    where it is smallest.
    """
    shapes = [s.shape for s in start]
    sizes = [s.numel() for s in start]

    def unpacked(flat: Tensor) -> list[Tensor]:
        return [x.reshape(shape) for x, shape in zip(flat.split(sizes), shapes, strict=True)]

    def total(flat: Tensor) -> Tensor:
        return cost(*unpacked(flat))

    flat = torch.cat([s.detach().flatten() for s in start]).requires_grad_()
    search = torch.optim.LBFGS(
        [flat],
        max_iter=steps,
        max_eval=2 * steps,
        history_size=50,
        tolerance_grad=1e-14,
        tolerance_change=1e-18,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        search.zero_grad()
        value = total(flat)
        value.backward()
        return value

    search.step(closure)
    here = flat.detach()
    gradient = _gradient(total, here)
    ahead = 0.0  # how far the next Newton step would go: far, where the cost merely flattens out
    for _ in range(newton):
        hessian = torch.autograd.functional.hessian(total, here)
        assert isinstance(hessian, Tensor)
        if not hessian.isfinite().all():
            break  # a cost with a gradient, but no second derivative here (log 0 of a hard label)
        step = torch.linalg.pinv(hessian, rtol=1e-11, hermitian=True) @ gradient
        ahead, there = step.abs().max().item(), here - step
        after = _gradient(total, there)
        # a step that leaves the valley, or gains nothing, is not taken
        if not (after.norm() < gradient.norm()) or total(there) > total(here) + 1e-12:
            break
        here, gradient = there, after
    largest = gradient.abs().max().item()
    if tolerance is not None and not (largest <= tolerance and ahead <= 1e-4):
        raise LuceError(
            f"The optimum was not reached: the gradient is still {largest:.1e}. If the cost has a "
            f"corner there (the hinge does), say `tolerance=None`. Else: {NO_OPTIMUM}"
        )
    if tolerance is not None and _flat_behind(total, torch.cat([s.flatten() for s in start]), here):
        raise LuceError(NO_OPTIMUM)
    return unpacked(here)


def _flat_behind(total: Callable[[Tensor], Tensor], start: Tensor, end: Tensor) -> bool:
    """Whether a tenth of the way back, in all coordinates or in one, costs next to nothing of what
    the whole way back costs. Then the end is where the cost stopped falling in this dtype, and no
    minimum: at the bottom of a bowl the share is a hundredth."""
    way = end - start
    with torch.no_grad():
        cost = total(end)
        for back in (way, *torch.diag(way)):
            whole, tenth = total(end - back) - cost, total(end - 0.1 * back) - cost
            if whole > 1e-10 * cost.abs() and tenth < 1e-6 * whole:
                return True
    return False


def _gradient(total: Callable[[Tensor], Tensor], flat: Tensor) -> Tensor:
    flat = flat.detach().requires_grad_()
    return torch.autograd.grad(total(flat), flat)[0]


def fit(
    objective: CostFunction,
    batch: Callable[[TabularPolicy], Batch],
    outcomes: Outcomes,
    weight: Float[Tensor, " groups"] | None = None,
    start: TabularPolicy | None = None,
    tolerance: float | None = 1e-8,
) -> TabularPolicy:
    """The policy that minimizes the mean cost of `batch(policy)`, group g counting `weight[g]`
    times the objective's own weight; from `start`, by default the uniform policy."""
    first = outcomes.uniform() if start is None else start

    def cost(logits: Tensor) -> Tensor:
        groups = batch(outcomes.normalize(logits))
        w = objective.weight(groups).detach()
        w = w if weight is None else w * weight
        return (w * objective(groups)).sum() / w.sum()

    (logits,) = minimize(cost, [first.log_prob], tolerance)
    return outcomes.normalize(logits)


def fit_pairs(
    objective: CostFunction,
    preference: Float[Tensor, "n n"],
    outcomes: Outcomes,
    reference: TabularPolicy | None = None,
    proposal: Float[Tensor, "n n"] | TabularPolicy | None = None,
    start: TabularPolicy | None = None,
    tolerance: float | None = 1e-8,
) -> TabularPolicy:
    """The policy that minimizes the mean cost of all pairs (i, j), each labelled P(i ≻ j) and
    drawn with probability `proposal[i, j]` (or both from that policy; by default all alike)."""
    check_annotator(preference)
    n = len(outcomes)
    weight = None
    if isinstance(proposal, TabularPolicy):
        weight = torch.outer(proposal.probability, proposal.probability).flatten()
    elif proposal is not None:
        weight = proposal.flatten()
    a, b = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T

    def batch(policy: TabularPolicy) -> Pairs:
        return pairs_of(policy, a, b, preference[a, b], reference)

    return fit(objective, batch, outcomes, weight, start, tolerance)


def pairs_of(
    policy: TabularPolicy,
    a: Int[Tensor, " pairs"],
    b: Int[Tensor, " pairs"],
    label: Float[Tensor, " pairs"] | None = None,
    reference: TabularPolicy | None = None,
) -> Pairs:
    """The pairs (a, b) of outcome numbers, as objectives take them."""
    y = policy.responses(reference)
    return Pairs(y.take(a), y.take(b), label)
