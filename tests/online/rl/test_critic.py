"""The critic: a value before each token, that knows nothing of what comes."""

import numpy as np
import pytest
import torch

from luce.data.pack import pack
from luce.errors import ModelError
from luce.models.heads import Heads
from luce.models.reward import load_reward_model
from luce.online.rl import load_critic
from luce.types import Branch, Group, Place


@pytest.fixture
def critic(tiny_model_dir):
    return load_critic(str(tiny_model_dir), terminator=1, dtype="float32", device="cpu")


def group(*responses, prompt=(5, 6, 7)) -> Group:
    branches = tuple(Branch(np.array(ids, np.int32), np.ones(len(ids), bool)) for ids in responses)
    return Group(np.array(prompt, np.int32), branches, "g", Place("f", 1))


def values(critic, *groups):
    with torch.no_grad():
        return critic.values(pack(groups))


def test_there_is_a_value_before_each_token(critic):
    """The same numbers as plain transformers gives, sequence by sequence."""
    found = values(critic, group([10, 11, 1], [12, 1]), group([13], prompt=(9,)))
    expected = []
    model = critic.model
    for prompt, ids in (((5, 6, 7), (10, 11)), ((5, 6, 7), (12,)), ((9,), ())):
        whole = torch.tensor([[*prompt, *ids]])
        with torch.no_grad(), model.plain_attention():
            hidden = model.inner.base_model(input_ids=whole).last_hidden_state[0]
            expected += model.inner.score(hidden)[len(prompt) - 1 :, 0].tolist()
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_a_value_does_not_know_its_own_token_nor_later_ones(critic):
    one, other = values(critic, group([10, 11, 1])), values(critic, group([10, 40, 41]))
    torch.testing.assert_close(one[:2], other[:2])
    assert not torch.allclose(one[2], other[2])


def test_a_saved_critic_is_a_reward_model_again(critic, tmp_path):
    critic.save(tmp_path / "critic")
    again = load_critic(str(tmp_path / "critic"), terminator=1, dtype="float32", device="cpu")
    torch.testing.assert_close(values(again, group([10, 1])), values(critic, group([10, 1])))


def test_a_reward_model_of_several_outputs_is_no_critic(tiny_model_dir, tmp_path):
    heads = Heads("annotators", ("ann", "bob"))
    several = load_reward_model(str(tiny_model_dir), dtype="float32", device="cpu", heads=heads)
    from luce.models.export import save_model

    save_model(several, tmp_path / "several")
    with pytest.raises(ModelError, match="a critic has one"):
        load_critic(str(tmp_path / "several"), terminator=1)
