"""Attention over a row whose prompts are shared: every response sees its prompt and itself.

transformers calls a registered function in place of its own attention and hands it the keyword
arguments of the model's forward: `luce=SharedRow(...)` says how the row is laid out. Which networks
can do this is decided by `best_layout` from their configuration, and proved by a self-check.
"""

from luce.models.attention.choice import (
    ATTENDING,
    best_layout,
    implementation,
    plain_implementation,
)
from luce.models.attention.hook import IMPLEMENTATION, choose, shared_prompt_attention
from luce.models.attention.row import (
    Kernel,
    SharedRow,
    Tokens,
    Variant,
    group_mask,
    using_kernel,
)

__all__ = [
    "ATTENDING",
    "IMPLEMENTATION",
    "Kernel",
    "SharedRow",
    "Tokens",
    "Variant",
    "best_layout",
    "choose",
    "group_mask",
    "implementation",
    "plain_implementation",
    "shared_prompt_attention",
    "using_kernel",
]
