import os
import subprocess
import sys

import pytest
import torch

from luce.models import products
from luce.models.products import matmul_precision, quick_products, quick_products_are_exact


@pytest.fixture(autouse=True)
def _measured_anew():
    quick_products_are_exact.cache_clear()
    yield
    quick_products_are_exact.cache_clear()


def rounded(left, right):
    return (left.bfloat16() @ right.bfloat16()).float()


def test_the_precision_of_before_comes_back():
    before = torch.get_float32_matmul_precision()
    with quick_products() as quick:
        assert torch.get_float32_matmul_precision() == ("medium" if quick else before)
    assert torch.get_float32_matmul_precision() == before
    with pytest.raises(ZeroDivisionError), quick_products():
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == before


def test_inside_products_are_of_float32():
    """Whichever library: bits of float32, not of bfloat16."""
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randn(300, 300, generator=generator) for _ in range(2))
    exact = left.double() @ right.double()
    with quick_products():
        off = torch.linalg.norm((left @ right).double() - exact) / torch.linalg.norm(exact)
    assert off < 2e-6
    rough = torch.linalg.norm(rounded(left, right).double() - exact) / torch.linalg.norm(exact)
    assert rough > 1e-3


def test_products_that_round_are_not_taken(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "__matmul__", _rounding(torch.Tensor.__matmul__))
    assert not quick_products_are_exact()
    with quick_products() as quick:
        assert not quick


def _rounding(product):
    def multiply(left, right):
        if left.dtype == torch.float32:
            return product(left.bfloat16(), right.bfloat16()).float()
        return product(left, right)

    return multiply


def test_with_a_gpu_nothing_is_switched(monkeypatch):
    monkeypatch.setattr(products.torch.cuda, "is_available", lambda: True)
    before = torch.get_float32_matmul_precision()
    with quick_products() as quick:
        assert not quick and torch.get_float32_matmul_precision() == before


def test_a_function_may_have_a_precision_of_its_own():
    @matmul_precision("highest")
    def inside():
        return torch.get_float32_matmul_precision()

    with matmul_precision("medium"):
        assert inside() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"


SHAPES_OF_ROWS = """
import torch
from luce.models.products import quick_products
def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) / 256
with quick_products() as quick:
    weights, before = torch.randn(64, 128, requires_grad=True), 0.0
    for rows in range(1, 1201):
        (torch.randn(rows, 64) @ weights).sum().backward()
        if rows == 300:
            before = resident_mib()
print(quick, resident_mib() - before)
"""


def grown(capacity: dict[str, str]) -> float:
    """MiB that a process grows by from 300 shapes to 1,200."""
    without = {k: v for k, v in os.environ.items() if k not in products.KERNELS}
    done = subprocess.run(
        [sys.executable, "-c", SHAPES_OF_ROWS], env=without | capacity | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    quick, found = done.stdout.split()
    if quick == "False":
        pytest.skip("oneDNN's products are not taken on this processor")
    return float(found)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_rows_of_many_lengths_do_not_fill_the_memory_with_kernels():
    """Each length is another shape, for which oneDNN makes a kernel of its own."""
    ours = grown({})
    assert ours < 200
    theirs = grown(dict.fromkeys(products.KERNELS, "1024"))
    if theirs < 200:
        pytest.skip("oneDNN's kernels are small on this processor")
    assert ours < theirs / 2
