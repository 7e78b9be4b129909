"""The audit of preference data: length, marks of form, repeats, leaks, noise, likeness.

Functions over judged rows; nothing here loads a model. Every share has its counts and a 95 %
interval that draws prompts.
"""

from luce.data.audit.audit import Audit, Part, audit
from luce.data.audit.findings import Finding
from luce.data.audit.pairs import JudgedPair, Pairs, pairs_of

__all__ = ["Audit", "Finding", "JudgedPair", "Pairs", "Part", "audit", "pairs_of"]
