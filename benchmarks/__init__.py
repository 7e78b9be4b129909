"""luce beside TRL: the same pairs, the same weights, the same process.

python -m benchmarks --help
"""
