"""Methods of reinforcement learning as their parameters, under the names that users know.

Every method climbs J(π) = E_{y∼π}[r(x, y)] − β KL(π ‖ π_ref) + α H(π) from the policy's own
samples. They differ in what an advantage is measured against, in how far one batch of samples may
move the policy, and in how the KL enters.

[REINFORCE] Williams (1992), Simple statistical gradient-following algorithms, Machine Learning 8.
[PPO] Schulman et al. (2017), arXiv:1707.06347; on language: Ouyang et al. (2022), arXiv:2203.02155.
[RLOO] Ahmadian et al. (2024), Back to basics, arXiv:2402.14740.
[GRPO] Shao et al. (2024), DeepSeekMath, arXiv:2402.03300.
[Dr. GRPO] Liu et al. (2025), Understanding R1-Zero-like training, arXiv:2503.20783.
[DAPO] Yu et al. (2025), arXiv:2503.14476.   [GAE] Schulman et al. (2015), arXiv:1506.02438.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, TypeAlias, get_type_hints

from pydantic import TypeAdapter, ValidationError

from luce.errors import RecipeError, did_you_mean
from luce.types import Scope, Structure

Aggregation: TypeAlias = Literal[
    "seq-mean-token-sum", "seq-mean-token-mean", "token-mean", "seq-mean-token-sum-norm"
]
"""The mean of token losses over the global batch of a step, by the names of verl.

`seq-mean-token-sum`: the mean over responses of the sum over their tokens, which the policy
gradient is; `seq-mean-token-mean`: of the mean over their tokens [GRPO]; `token-mean`: over all
tokens, so that long responses count more [DAPO]; `seq-mean-token-sum-norm`: of the sum divided by
`max_new_tokens` [Dr. GRPO]."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """What all methods share. The reward r(x, y) is given on the last token.

    Attributes:
        beta: β ≥ 0, the price of a nat of KL to the reference, in units of reward.
        kl: how the KL enters: `in_reward`, −β (log π − log π_ref) on every token, of which the
            gradient is exact; or `in_loss`, + β times an estimator of each token.
        kl_estimator: `k1` in the reward; in the loss `k2`, whose gradient points at KL(π ‖ π_ref),
            or `k3`, whose gradient points at KL(π_ref ‖ π).
        entropy: α ≥ 0, what a nat of entropy is worth, in units of reward: −α log π on every token
            of the reward, so that its gradient is that of α H(π(·|x)).
        missing_eos_penalty: taken from the reward of a response that was cut at `max_new_tokens`.
        loss_agg_mode: the mean that is taken of token losses.
        clip_low, clip_high: the ratio π/π_sampler is held in [1 − clip_low, 1 + clip_high]; both
            None: no ratio, −A log π, right only on samples that are seen once.
    """

    beta: float = 0.05
    kl: Literal["in_reward", "in_loss"] = "in_reward"
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    entropy: float = 0.0
    missing_eos_penalty: float | None = None
    loss_agg_mode: Aggregation = "seq-mean-token-sum"
    clip_low: float | None = None
    clip_high: float | None = None

    name: ClassVar[str]
    advantage: ClassVar[str]
    source: ClassVar[str]
    structure: ClassVar[Structure] = "list"
    scope: ClassVar[Scope] = "group"

    def __post_init__(self) -> None:
        for key in ("beta", "entropy"):
            if not getattr(self, key) >= 0:
                raise self.error(key, f"{getattr(self, key):g} is negative.")
        if self.kl == "in_reward" and self.kl_estimator != "k1":
            raise self.error(
                "kl_estimator",
                f"{self.kl_estimator} in the reward has another gradient than that of a KL. Leave "
                "it at k1, or set `kl: in_loss`.",
            )
        if self.kl == "in_loss" and self.kl_estimator == "k1":
            raise self.error(
                "kl_estimator",
                "k1 in the loss has a gradient of 0 on average. Set `kl_estimator: k2` or `k3`, or "
                "`kl: in_reward`.",
            )
        penalty = self.missing_eos_penalty
        if penalty is not None and not penalty > 0:
            raise self.error(
                "missing_eos_penalty",
                f"{penalty:g}. It is taken from the reward, so give a number above 0, or null.",
            )
        if (self.clip_low is None) != (self.clip_high is None):
            raise self.error("clip_low", "goes with clip_high. Give both, or neither.")
        if self.clip_low is not None and self.clip_high is not None:
            if not 0 <= self.clip_low < 1 or not self.clip_high >= 0:
                raise self.error(
                    "clip_low", "and clip_high are to lie in [0, 1) and in [0, ∞); the usual is .2."
                )

    @classmethod
    def error(cls, key: str, what: str) -> RecipeError:
        """An error about one of its parameters."""
        return RecipeError(f"objective.{cls.name}.{key}: {what}")

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter with its value."""
        return asdict(self)

    @property
    def clip(self) -> tuple[float, float] | None:
        """(clip_low, clip_high), or None where there is no ratio."""
        if self.clip_low is None or self.clip_high is None:
            return None
        return self.clip_low, self.clip_high

    @property
    def needs(self) -> frozenset[str]:
        """`reference`, where the KL has a price."""
        return frozenset({"reference"} if self.needs_reference else ())

    @property
    def needs_reference(self) -> bool:
        """Whether it cannot do without a reference policy."""
        return self.beta > 0

    @property
    def formula(self) -> str:
        """The cost of a token, and what its advantage is made of."""
        reward = "r"
        if self.missing_eos_penalty:
            reward += f" − {self.missing_eos_penalty:g}·[cut]"
        if self.beta and self.kl == "in_reward":
            reward += f" − {self.beta:g}·log π/π_ref"
        if self.entropy:
            reward += f" − {self.entropy:g}·log π"
        loss = "−A log π"
        if self.clip is not None:
            low, high = self.clip
            loss = f"−min(ρA, clip(ρ, {1 - low:g}, {1 + high:g})A), ρ = π/π_sampler"
        if self.beta and self.kl == "in_loss":
            loss += f" + {self.beta:g}·{self.kl_estimator}(π, π_ref)"
        return f"{loss};  A = {self.advantage}, R = {reward};  {self.loss_agg_mode}"


@dataclass(frozen=True, kw_only=True)
class Reinforce(Method):
    """The reward still to come of each token, less a baseline that is one number for all
    [REINFORCE].

    Attributes:
        baseline: `batch`: the mean of all *other* responses of the round; `running`: that of all
            earlier rounds (0 in the first); `none`. None of them biases the gradient.
    """

    baseline: Literal["batch", "running", "none"] = "batch"

    name: ClassVar[str] = "reinforce"
    advantage: ClassVar[str] = "Σ_{k≥t} R_k − baseline"
    source: ClassVar[str] = "Williams (1992), Machine Learning 8, section 4"


@dataclass(frozen=True, kw_only=True)
class Rloo(Method):
    """The reward of the whole response less the mean of the others to its prompt [RLOO]."""

    name: ClassVar[str] = "rloo"
    advantage: ClassVar[str] = "R(y) − mean of R over the other responses"
    source: ClassVar[str] = "Ahmadian et al. (2024), arXiv:2402.14740, section 3.3"


@dataclass(frozen=True, kw_only=True)
class Grpo(Method):
    """Rewards standardised within the responses to a prompt [GRPO, section 4.1].

    Attributes:
        ddof: of the standard deviation; 1 is what `torch.std` gives, and the usual code has.
    """

    beta: float = 0.04
    kl: Literal["in_reward", "in_loss"] = "in_loss"
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    loss_agg_mode: Aggregation = "seq-mean-token-mean"
    clip_low: float | None = 0.2
    clip_high: float | None = 0.2
    ddof: Literal[0, 1] = 1

    name: ClassVar[str] = "grpo"
    advantage: ClassVar[str] = "(R(y) − mean)/(sd + 1e-4) within the prompt"
    source: ClassVar[str] = "Shao et al. (2024), arXiv:2402.03300, eq. 3"


@dataclass(frozen=True, kw_only=True)
class DrGrpo(Method):
    """Rewards less their mean within the responses to a prompt, not divided by their spread, and
    sums over tokens divided by one constant [Dr. GRPO]."""

    beta: float = 0.0
    kl: Literal["in_reward", "in_loss"] = "in_loss"
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    loss_agg_mode: Aggregation = "seq-mean-token-sum-norm"
    clip_low: float | None = 0.2
    clip_high: float | None = 0.2

    name: ClassVar[str] = "dr_grpo"
    advantage: ClassVar[str] = "R(y) − mean within the prompt"
    source: ClassVar[str] = "Liu et al. (2025), arXiv:2503.20783, section 3.2"


@dataclass(frozen=True, kw_only=True)
class Ppo(Method):
    """Generalized advantages [GAE] of a critic V(x, y_<t), and a ratio that is clipped [PPO].

    Attributes:
        gamma, lam: γ and λ of the advantages.
        whiten: advantages of the round are brought to mean 0 and standard deviation 1 over tokens.
        clip_value: a value may move by so much from what it was when the tokens were sampled, in
            units of reward; null: as far as it likes.
        critic: what V starts from: `policy`, a new head on a copy of the policy's start; or the
            path of a reward model.
        critic_learning_rate: peak of the critic's own; the schedule is the policy's.
    """

    loss_agg_mode: Aggregation = "token-mean"
    clip_low: float | None = 0.2
    clip_high: float | None = 0.2
    gamma: float = 1.0
    lam: float = 0.95
    whiten: bool = True
    clip_value: float | None = 0.2
    critic: str = "policy"
    critic_learning_rate: float = 1e-5

    name: ClassVar[str] = "ppo"
    advantage: ClassVar[str] = "Σ_k (γλ)ᵏ δ_{t+k}, δ_t = R_t + γV_{t+1} − V_t"
    source: ClassVar[str] = "Schulman et al. (2017), arXiv:1707.06347, eq. 7 and 11"

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("gamma", "lam"):
            if not 0 <= getattr(self, key) <= 1:
                raise self.error(key, f"{getattr(self, key):g} is not in [0, 1].")
        if self.clip_value is not None and not self.clip_value > 0:
            raise self.error("clip_value", f"{self.clip_value:g} is not above 0. null: no clip.")
        if not self.critic_learning_rate > 0:
            raise self.error("critic_learning_rate", "is not above 0.")


METHODS: dict[str, type[Method]] = {
    "reinforce": Reinforce,
    "rloo": Rloo,
    "grpo": Grpo,
    "dr_grpo": DrGrpo,
    "ppo": Ppo,
}


def make_method(name: str, parameters: Mapping[str, Any]) -> Method:
    """The method of that name; what is not given has its default.

    Raises:
        RecipeError: no such method or parameter, or a value that it cannot have.

    >>> make_method("rloo", {"beta": 0.1}).formula
    '−A log π;  A = R(y) − mean of R over the other responses, R = r − 0.1·log π/π_ref; \
 seq-mean-token-sum'
    """
    if name not in METHODS:
        raise RecipeError(f"objective: no {name!r}. {did_you_mean(name, METHODS)}")
    kind = METHODS[name]
    hints = get_type_hints(kind)
    known = {field.name: hints[field.name] for field in fields(kind)}
    values = {}
    for key, value in parameters.items():
        if key not in known:
            raise RecipeError(f"objective.{name}: no parameter {key!r}. {did_you_mean(key, known)}")
        try:
            values[key] = TypeAdapter(known[key]).validate_python(value, strict=True)
        except ValidationError as error:
            what = error.errors()[0]["msg"]
            raise RecipeError(f"objective.{name}.{key}: {value!r}: {what}.") from None
    return kind(**values)
