"""Sums of a distribution's entries: the same bits in any order."""

import pytest
import torch

from luce.models import engine
from luce.models.engine import SamplingSettings, draw
from luce.numerics import running_sums


@pytest.fixture
def shares():
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(8, 5000, generator=generator)).softmax(-1)


def test_integers_add_up_to_the_sums(shares):
    exact = shares.double().cumsum(-1)
    found = running_sums(shares, in_order=True)
    assert found.dtype == shares.dtype
    assert (found.double() - exact).abs().max() <= 2**-24 + 5000 * 2**-53
    assert (found.diff(dim=-1) >= 0).all()
    assert torch.equal(running_sums(shares), shares.cumsum(-1))


def test_the_total_does_not_depend_on_the_order(shares):
    orders = [torch.randperm(5000, generator=torch.Generator().manual_seed(s)) for s in range(20)]

    def totals(of):
        return {tuple(of(shares.double()[:, o])[:, -1].tolist()) for o in orders}

    assert len(totals(lambda s: running_sums(s, in_order=True))) == 1
    assert len(totals(lambda s: s.cumsum(-1))) > 1


@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_the_same_tokens_are_drawn(shares, monkeypatch, top_p):
    uniform = torch.rand(8, generator=torch.Generator().manual_seed(1))
    settings = SamplingSettings(top_p=top_p)
    plain = draw(shares.log(), uniform, settings)
    monkeypatch.setattr(engine, "running_sums", lambda p: running_sums(p, in_order=True))
    assert torch.equal(draw(shares.log(), uniform, settings)[0], plain[0])
