"""Bradley-Terry and Davidson fits of a table of wins: arrays in, log-strengths out.

Log-strengths θ are in nats and have mean 0; P(i ≻ j) = σ(θ_i − θ_j). `luce.annotate.rank` makes
rankings with names and intervals of them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import NegativeCycleError, bellman_ford
from scipy.special import expit, log_expit

from luce.annotate.maximum import groups, newton


@dataclass(frozen=True)
class Fit:
    """A maximum of the likelihood.

    Attributes:
        log_strengths: θ, nats, mean 0.
        log_likelihood: at the maximum, without the prior; nats.
        information: minus the second derivative there (the observed information), the prior
            included; (items, items), or one more where the model has a tie parameter.
        log_tie: log ν of Davidson's model; None in a model without ties.
    """

    log_strengths: np.ndarray
    log_likelihood: float
    information: np.ndarray
    log_tie: float | None = None

    @property
    def strengths(self) -> np.ndarray:
        """π = exp θ, with sum 1."""
        return shares(self.log_strengths)

    @property
    def covariance(self) -> np.ndarray:
        """Of the log-strengths minus their mean, by the observed information; (items, items)."""
        n = len(self.log_strengths)
        centred = np.eye(n) - 1 / n
        return centred @ np.linalg.pinv(self.information, hermitian=True)[:n, :n] @ centred


def shares(log_strengths: np.ndarray) -> np.ndarray:
    """exp θ / Σ exp θ."""
    found = np.exp(log_strengths - log_strengths.max())
    return found / found.sum()


def fit_bradley_terry(
    wins: np.ndarray, prior_sd: float | None = None, start: np.ndarray | None = None
) -> Fit:
    """Maximises Σ_ij wins[i, j] log σ(θ_i − θ_j) − Σ_i θ_i² / (2 prior_sd²) by Newton's method
    (Bradley and Terry, 1952; Zermelo, 1929).

    Args:
        wins: (items, items), not negative; without a prior Ford's condition must hold.
        prior_sd: the standard deviation of a Gaussian prior on each θ_i; None: no prior.
        start: log-strengths to begin from.
    """
    n = len(wins)
    games = wins + wins.T
    precision = 0.0 if prior_sd is None else prior_sd**-2
    # adding a constant to every θ changes nothing: this term holds the mean at 0
    gauge = max(1e-12, games.sum() / 4 / n**2) if prior_sd is None else 0.0

    def likelihood(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        gaps = theta[:, None] - theta[None, :]
        p = expit(gaps)
        value = (wins * log_expit(gaps)).sum() - precision * (theta**2).sum() / 2
        # wins times P(the other would win): no difference of near-equal numbers
        surprise = wins * p.T
        gradient = (surprise - surprise.T).sum(axis=1) - precision * theta
        curvature = -games * p * p.T
        np.fill_diagonal(curvature, 0.0)
        np.fill_diagonal(curvature, precision - curvature.sum(axis=1))
        return float(value), gradient, curvature + gauge

    theta = newton(likelihood, np.zeros(n) if start is None else start, "Bradley-Terry")
    theta = theta - theta.mean()
    value, _, curvature = likelihood(theta)
    value += precision * float((theta**2).sum()) / 2
    return Fit(theta, value, curvature - gauge)


def fit_davidson(
    wins: np.ndarray,
    ties: np.ndarray,
    prior_sd: float | None = None,
    start: tuple[np.ndarray, float] | None = None,
) -> Fit:
    """Bradley-Terry with ties (Davidson, 1970, eq. 2.6): for π = exp θ,

    P(i ≻ j) = π_i / (π_i + π_j + ν √(π_i π_j)), P(tie) = ν √(π_i π_j) / (the same).

    The likelihood is concave in (θ, log ν) and is maximised over both. The prior is on θ only.

    Args:
        wins: (items, items), without ties.
        ties: (items, items), symmetric: how often i and j tied.
        prior_sd: as in `fit_bradley_terry`.
        start: log-strengths and log ν to begin from.
    """
    n = len(wins)
    i, j = np.nonzero(np.triu(wins + wins.T + ties, 1))
    seen = np.stack([wins[i, j], wins[j, i], ties[i, j]])
    games = seen.sum(axis=0)
    precision = 0.0 if prior_sd is None else prior_sd**-2
    gauge = np.zeros((n + 1, n + 1))
    gauge[:n, :n] = max(1e-12, games.sum() / 4 / n**2) if prior_sd is None else 0.0
    # what each outcome (i wins, j wins, tie) holds of θ_i, θ_j and log ν
    features = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 1.0]])

    def likelihood(point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        theta = point[:n]
        logits = features @ np.stack([theta[i], theta[j], np.full(len(i), point[n])])
        logits = logits - logits.max(axis=0)
        log_p = logits - np.log(np.exp(logits).sum(axis=0))
        p = np.exp(log_p)
        value = (seen * log_p).sum() - precision * (theta**2).sum() / 2
        places = np.stack([i, j, np.full(len(i), n)])
        gradient = np.bincount(places.ravel(), (features.T @ (seen - games * p)).ravel(), n + 1)
        gradient[:n] -= precision * theta
        mean = features.T @ p
        second = np.einsum("oa,ob,op->abp", features, features, p)
        spread = games * (second - mean[:, None] * mean[None, :])
        curvature = np.zeros((n + 1, n + 1))
        np.add.at(curvature, (places[:, None], places[None, :]), spread)
        curvature[np.arange(n), np.arange(n)] += precision
        return float(value), gradient, curvature + gauge

    begin = (np.zeros(n), 0.0) if start is None else start
    point = newton(likelihood, np.append(*begin), "Davidson's model")
    point[:n] -= point[:n].mean()
    value, _, curvature = likelihood(point)
    value += precision * float((point[:n] ** 2).sum()) / 2
    return Fit(point[:n], value, curvature - gauge, float(point[n]))


def davidson_is_finite(wins: np.ndarray, ties: np.ndarray, prior: bool = False) -> bool:
    """Whether Davidson's likelihood has a finite maximum, given at least one tie and one win.

    It has none if some direction (δ, μ) of (θ, log ν) lowers no outcome that was seen: for wins
    i ≻ j, δ_i − δ_j ≥ max(0, 2μ); for ties, |δ_i − δ_j| ≤ 2μ. A tie forces μ ≥ 0. With μ = 0 all
    δ are equal just where wins and ties together are strongly connected; μ = 1 is a system of
    difference constraints, which has a solution unless its graph has a negative cycle. With a prior
    on θ, δ is 0, and one tie and one win are enough.
    """
    if prior:
        return True
    if len(groups(wins + ties)) > 1:
        return False
    n = len(wins)
    # the edge i → j of length c says δ_j ≤ δ_i + c; node n reaches all
    length = np.where(wins > 0, -2.0, np.where(ties > 0, 2.0, 0.0))
    graph = np.zeros((n + 1, n + 1))
    graph[:n, :n] = length
    graph[n, :n] = 1.0
    try:
        bellman_ford(csr_array(graph), indices=n)
    except NegativeCycleError:
        return True
    return False
