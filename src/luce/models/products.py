"""Products of float32 matrices on a CPU: oneDNN's where they are float32 indeed.

torch takes MKL's unless told that "medium" precision will do; then it takes oneDNN's, which on some
processors rounds to 16 bits and on others stays in float32 and takes half the time. Which of the
two it is here is measured, not read off the processor's name.

oneDNN makes a kernel for each shape of a product and keeps 1,024 of them, and torch above it as
many of each kind. Rows of text have many shapes: over the first 300 steps of a model of 36,000
weights memory grew from 580 to 1,330 MiB. With 128 it stays at 620 MiB from the twentieth step on,
the weights are the same, and it takes no more processor time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

SHAPES = ((64, 64, 64), (96, 512, 256), (256, 256, 1024), (512, 512, 512))
"""Rows, inner size and columns of the products that are measured."""

KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "128"}
"""How many kernels oneDNN, and torch above it, keep: read by them before their first product."""

EXACT = 2e-6
"""Relative error (Frobenius) below which a product is float32: seen are 2e-7 to 6e-7. Products of
numbers rounded to 16 bits are off by 2e-3."""


@lru_cache(maxsize=1)
def quick_products_are_exact() -> bool:
    """Whether products at "medium" precision have float32's error on this processor."""
    for name, count in KERNELS.items():
        os.environ.setdefault(name, count)  # who set it knows better
    generator = torch.Generator().manual_seed(0)
    with matmul_precision("medium"):
        for rows, inner, columns in SHAPES:
            left = torch.randn(rows, inner, generator=generator)
            right = torch.randn(inner, columns, generator=generator)
            exact = left.double() @ right.double()
            error = torch.linalg.norm((left @ right).double() - exact) / torch.linalg.norm(exact)
            if not error < EXACT:
                return False
    return True


@contextmanager
def quick_products() -> Iterator[bool]:
    """oneDNN's products while the context lasts, where they are exact and nothing runs on a GPU,
    whose float32 products the same switch would round. Yields whether they are taken."""
    quick = not torch.cuda.is_available() and quick_products_are_exact()
    with matmul_precision("medium" if quick else torch.get_float32_matmul_precision()):
        yield quick


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """torch's setting of that name while the context lasts; decorates functions too."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
