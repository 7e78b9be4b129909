"""Reinforcement learning from graded samples: REINFORCE, RLOO, group advantages, PPO."""

from luce.online.rl.advantages import Credit, Drawn, credit, token_rewards
from luce.online.rl.critic import Critic, load_critic
from luce.online.rl.experience import Experience, experience
from luce.online.rl.fit import rl_fit
from luce.online.rl.losses import Taken, policy_losses, value_losses
from luce.online.rl.methods import (
    METHODS,
    DrGrpo,
    Grpo,
    Method,
    Ppo,
    Reinforce,
    Rloo,
    make_method,
)
from luce.online.rl.metrics import sample_metrics
from luce.online.rl.rollout import Actors, Prompt, Rollout, RolloutSettings, draw_rollouts
from luce.online.rl.rounds import Rounds
from luce.online.rl.trainer import Plan, RLTrainer

__all__ = [
    "METHODS",
    "Actors",
    "Credit",
    "Critic",
    "DrGrpo",
    "Drawn",
    "Experience",
    "Grpo",
    "Method",
    "Plan",
    "Ppo",
    "Prompt",
    "RLTrainer",
    "Reinforce",
    "Rloo",
    "Rollout",
    "RolloutSettings",
    "Rounds",
    "Taken",
    "credit",
    "draw_rollouts",
    "experience",
    "load_critic",
    "make_method",
    "policy_losses",
    "rl_fit",
    "sample_metrics",
    "token_rewards",
    "value_losses",
]
