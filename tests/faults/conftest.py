"""What every fault is put into, and what the page quotes."""

import copy
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

# tests are imported by path; these are the places of `fault_bench`, `judge_server` and
# `annotation_client`
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / "annotate" / name) for name in ("judge", "server"))]

from fault_bench import Bench, in_process  # noqa: E402

LONGEST = 260


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(numbers, what, answer): a row of docs/faults.md")


@pytest.fixture(scope="session")
def whole_model(tmp_path_factory, chatml_tokenizer) -> Path:
    """A one-layer Llama with a ChatML tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "model"
    tokenizer = copy.deepcopy(chatml_tokenizer)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def bench(tmp_path, monkeypatch, whole_model, capsys) -> Bench:
    """A model, rows and a recipe that a test may spoil; the working folder is theirs."""
    monkeypatch.chdir(tmp_path)
    model = Path(shutil.copytree(whole_model, tmp_path / "model"))
    return Bench(tmp_path, model, in_process(capsys))


@pytest.fixture(autouse=True)
def told(request, tmp_path) -> None:
    """The fault of a test stands in its report, for the page."""
    mark = request.node.get_closest_marker("fault")
    if mark is not None:
        request.node.user_properties.append(("fault", dict(mark.kwargs)))


@pytest.fixture
def says(request, tmp_path):
    """Keep what luce said, without the names of folders that are the test's own."""

    def keep(text: str) -> None:
        text = text.replace(f"{tmp_path}/", "").replace(str(tmp_path), "the folder")
        text = re.sub(r"(127\.0\.0\.1):[0-9]+", r"\1:…", " ".join(text.split()))
        cut = text if len(text) <= LONGEST else text[: LONGEST - 2].rsplit(" ", 1)[0] + " …"
        request.node.user_properties.append(("says", cut))

    return keep
