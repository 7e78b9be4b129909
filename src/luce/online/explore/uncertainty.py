"""How little past comparisons say about a difference of features.

    ‖Δφ‖_{Σ⁻¹},   Σ = λ I + Σ_s Δφ_s Δφ_sᵀ

A linear reward that was fitted to the comparisons Δφ_s is known up to a constant times this width.
(Xiong et al., 2024, arXiv:2312.11456, definition 2. The talk prints the sum with the transpose on
the first factor, a number; it is the outer product.)
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError


@runtime_checkable
class Uncertainty(Protocol):
    """Remembers which differences of features were compared."""

    def width(self, differences: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
        """‖Δφ‖_{Σ⁻¹} of each, ≥ 0, float64."""
        ...

    def update(self, differences: Float[Tensor, "*rows d"]) -> None:
        """Σ ← Σ + Σ_s Δφ_s Δφ_sᵀ."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What `restore` takes."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state of the same shape."""
        ...


class Covariance:
    """Σ itself: d² numbers, and d³/3 operations for each block of comparisons.

    Leading axes, if any, are separate worlds with a Σ each: `Covariance(d, λ, worlds)` takes
    differences of shape (*worlds, …, d).

    >>> seen = Covariance(2, ridge=1.0)
    >>> seen.update(torch.tensor([[1.0, 1.0]]))
    >>> seen.width(torch.tensor([[1.0, 1.0], [1.0, -1.0]])).square()
    tensor([0.6667, 2.0000], dtype=torch.float64)
    """

    def __init__(
        self, d: int, ridge: float, worlds: tuple[int, ...] = (), device: str = "cpu"
    ) -> None:
        """Σ = `ridge` · I, ridge > 0."""
        identity = torch.eye(d, dtype=torch.float64, device=device)
        self.matrix: Tensor = _positive(ridge) * identity.expand(*worlds, d, d).clone()
        self._root: Tensor | None = None

    def width(self, differences: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
        """‖Δφ‖_{Σ⁻¹} = ‖L⁻¹ Δφ‖, Σ = L Lᵀ."""
        if self._root is None:
            self._root = torch.linalg.cholesky(self.matrix)
        flat = self._flat(differences)
        solved = torch.linalg.solve_triangular(self._root, flat.mT, upper=False)
        return solved.norm(dim=-2).reshape(differences.shape[:-1])

    def update(self, differences: Float[Tensor, "*rows d"]) -> None:
        """Σ ← Σ + Σ_s Δφ_s Δφ_sᵀ, the sum over all axes but those of the worlds."""
        flat = self._flat(differences)
        self.matrix = self.matrix + flat.mT @ flat
        self._root = None

    def state(self) -> dict[str, Tensor]:
        """What `restore` takes."""
        return {"matrix": self.matrix.clone()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state of the same shape."""
        self.matrix, self._root = state["matrix"].to(self.matrix), None

    def _flat(self, differences: Tensor) -> Tensor:
        *worlds, d, _ = self.matrix.shape
        if list(differences.shape[: len(worlds)]) != worlds or differences.shape[-1] != d:
            raise LuceError(
                f"Differences of shape {tuple(differences.shape)} for a covariance of shape "
                f"{tuple(self.matrix.shape)}: the worlds first and the {d} features last."
            )
        return differences.to(self.matrix).reshape(*worlds, -1, d)


class Sketch:
    """Σ to rank `rank`, for features of many dimensions: 2 · rank · d numbers.

    Frequent directions (Liberty, 2013, arXiv:1206.0594; Ghashami et al., 2016, arXiv:1501.01711):
    a matrix B with Σ_s Δφ_s Δφ_sᵀ − `lost` · I ≼ BᵀB ≼ Σ_s Δφ_s Δφ_sᵀ, where `lost` is at most
    ‖A − A_k‖²_F/(rank + 1 − k) for every k ≤ rank, A the rows so far and A_k its best of rank k.
    So a width is never too small, and `lower_width` bounds how much too large it may be. Where at
    most `rank` directions were ever compared, both are exact.
    """

    def __init__(self, d: int, ridge: float, rank: int, device: str = "cpu") -> None:
        """λ = `ridge` > 0 and 1 ≤ `rank` < d."""
        if not 1 <= rank < d:
            raise LuceError(f"rank: {rank} must be from 1 to {d - 1}; or use a Covariance.")
        self.ridge = _positive(ridge)
        self.rank = rank
        self.lost: float = 0.0
        self._rows: Tensor = torch.zeros(0, d, dtype=torch.float64, device=device)
        self._values: Tensor = self._rows.new_zeros(0)  # singular values of B, squared
        self._directions: Tensor = self._rows

    def width(self, differences: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
        """‖Δφ‖ in the inverse of λ I + BᵀB: at least the exact width."""
        return self._norm(differences, self.ridge, self._values)

    def lower_width(self, differences: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
        """‖Δφ‖ in the inverse of (λ + lost) I + BᵀB: at most the exact width."""
        return self._norm(differences, self.ridge + self.lost, self._values)

    def update(self, differences: Float[Tensor, "*rows d"]) -> None:
        """Take comparisons in, 2 · rank rows of the buffer at a time."""
        d = self._rows.shape[1]
        if differences.shape[-1] != d:
            raise LuceError(f"Differences of {differences.shape[-1]} features; it holds {d}.")
        for block in differences.to(self._rows).reshape(-1, d).split(self.rank):
            rows = torch.cat([self._rows, block])
            _, singular, directions = torch.linalg.svd(rows, full_matrices=False)
            values = singular.square()
            if len(values) > self.rank:
                shrink = values[self.rank]
                self.lost += shrink.item()
                values = (values[: self.rank] - shrink).clamp(min=0.0)
                directions = directions[: self.rank]
            self._values, self._directions = values, directions
            self._rows = values.sqrt().unsqueeze(1) * directions

    def state(self) -> dict[str, Tensor]:
        """What `restore` takes."""
        lost = torch.tensor(self.lost, dtype=torch.float64)
        found = {"values": self._values, "directions": self._directions, "lost": lost}
        return {name: tensor.clone() for name, tensor in found.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state of the same shape."""
        self.lost = float(state["lost"])
        self._values = state["values"].to(self._rows)
        self._directions = state["directions"].to(self._rows)
        self._rows = self._values.sqrt().unsqueeze(1) * self._directions

    def _norm(self, differences: Tensor, ridge: float, values: Tensor) -> Tensor:
        """By Woodbury: xᵀ(λI + VᵀDV)⁻¹x = (‖x‖² − Σ d/(d + λ) (v·x)²)/λ, as a sum of terms ≥ 0."""
        x = differences.to(self._rows)
        along = x @ self._directions.mT
        rest = x - along @ self._directions
        inside = (along.square() / (values + ridge)).sum(-1)
        return (rest.square().sum(-1) / ridge + inside).sqrt()


def information_gain(
    uncertainty: Uncertainty,
    features: Float[Tensor, "*contexts actions d"],
    first: Float[Tensor, "*contexts actions"],
    second: Float[Tensor, "*contexts actions"],
) -> Float[Tensor, "*contexts"]:
    """Γ(π¹, π²) = ‖E_π¹ φ − E_π² φ‖_{Σ⁻¹} in each context.

    Args:
        uncertainty: the comparisons so far.
        features: φ(x, a).
        first, second: the probabilities π¹(a|x) and π²(a|x).
    """
    between = torch.einsum("...a,...ad->...d", first - second, features)
    return uncertainty.width(between)


def _positive(ridge: float) -> float:
    if not ridge > 0:
        raise LuceError(f"ridge: {ridge:g} must be greater than 0.")
    return ridge
