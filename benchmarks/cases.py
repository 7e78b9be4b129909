"""What `python -m benchmarks` compares, case by case and variant by variant."""

from dataclasses import dataclass

BETA = 0.1
"""Of DPO, on both sides."""

LUCE, ONLINE = "luce", "luce, reference in the step"
PLAIN = "luce, torch's products"
"""luce without the switch of `luce.models.products`: the matrix products that TRL runs on."""

DEFAULTS, UNCHECKPOINTED, TUNED = "TRL defaults", "TRL without checkpointing", "TRL tuned"
GROUPED = "TRL tuned, grouped by length"
LUCE_GROUPED = "luce, on the grouped batches"
MIXED_VARIANTS = (LUCE, PLAIN, ONLINE, DEFAULTS, UNCHECKPOINTED, TUNED)
GROUPED_VARIANTS = (LUCE_GROUPED, GROUPED)
VARIANTS = (*MIXED_VARIANTS, *GROUPED_VARIANTS)
LUCE_VARIANTS = (LUCE, PLAIN, ONLINE, LUCE_GROUPED)


@dataclass(frozen=True)
class Case:
    """One comparison of training steps.

    Attributes:
        shape: a name of `benchmarks.shapes.SHAPES`.
        data: hh or alpaca.
        batch_size: pairs of a step.
        bf16: autocast on both sides.
        lora: an adapter of rank 16 on all linear layers, on both sides.
        pool: only pairs of at most so many tokens; 0: all.
    """

    name: str
    shape: str
    data: str
    batch_size: int
    bf16: bool = False
    lora: bool = False
    pool: int = 0

    @property
    def tolerance(self) -> float:
        """How far losses may be apart: the rounding of the precision. In bfloat16 two of TRL's own
        variants differ by 2.5e-3."""
        return 2e-2 if self.bf16 else 1e-4


CPU_CASES = (
    Case("hh-q05ratio", "q05ratio", "hh", 8),
    Case("hh-v32k", "v32k", "hh", 8),
    Case("hh-body", "body", "hh", 8),
    Case("hh-bigvocab", "bigvocab", "hh", 8),
    Case("alpaca-q05ratio", "q05ratio", "alpaca", 4),
    Case("lora-q05ratio", "q05ratio", "hh", 8, lora=True),
    Case("bf16-q05ratio", "q05ratio", "hh", 8, bf16=True),
)
CUDA_CASES = (
    Case("hh-0.5b", "qwen2.5-0.5b", "hh", 16, bf16=True),
    Case("alpaca-0.5b", "qwen2.5-0.5b", "alpaca", 16, bf16=True),
    Case("hh-1.5b", "qwen2.5-1.5b", "hh", 16, bf16=True),
    Case("alpaca-1.5b", "qwen2.5-1.5b", "alpaca", 16, bf16=True),
    Case("lora-7b", "qwen2.5-7b", "hh", 16, bf16=True, lora=True),
)
QUICK = Case("quick", "v32k", "hh", 2, pool=200)
TINY = Case("tiny", "tiny", "hh", 2, pool=100)
CASES = {case.name: case for case in (*CPU_CASES, *CUDA_CASES, QUICK, TINY)}
