"""Samples from a server are those of its weights, each stamped, none lost and none twice."""

import json
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from luce.errors import ModelError
from luce.models import engine_dialects
from luce.models.engine import SamplingSettings, generate
from luce.models.engine_http import Http, Refused
from luce.models.engine_server import ServerEngine
from luce.models.engines import Engine, LocalEngine, Weights
from luce.models.export import save_model
from luce.models.load import LoraSettings
from luce.models.policy import load_policy

sys.path.insert(0, str(Path(__file__).parent))
from served import Served  # noqa: E402

KINDS = ("vllm", "sglang")
SETTINGS = SamplingSettings(temperature=0.9, max_new_tokens=6)
PROMPTS = [[5, 6, 7], [8, 9], [10, 11, 12, 13], [14]]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(engine_dialects, "POLL_S", 0.02)


@pytest.fixture
def policy(tiny_model_dir):
    return load_policy(str(tiny_model_dir))


@pytest.fixture
def moved(tmp_path, policy):
    """Other weights of the same model."""
    other = load_policy(policy.module.config._name_or_path)
    for parameter in other.module.parameters():
        parameter.data.mul_(0.9)
    save_model(other, tmp_path / "moved")
    return tmp_path / "moved", other


@pytest.fixture
def serve():
    open_ones = []

    def start(*args, **keywords):
        open_ones.append(Served(*args, **keywords))
        return open_ones[-1]

    yield start
    for one in open_ones:
        if one.thread.is_alive():
            one.close()


def engine(server, weights, *, retries=3, wait_s=0.0, **more):
    http = Http(server.url, retries=retries, backoff_s=0.01, timeout_s=20.0)
    told = []
    made = ServerEngine(
        server.kind, http, weights, wait_s=wait_s, tell=told.append, concurrency=4, **more
    )
    return made, told


def weights_of(folder, policy):
    return Weights(str(folder), policy.hash())


def scored(policy, prompt, ids):
    """log π of each token, by one plain forward pass."""
    with torch.no_grad(), policy.plain_attention():
        row = torch.tensor([[*prompt, *ids]])
        logs = policy.inner(row).logits.float().log_softmax(-1)[0]
    return [logs[len(prompt) - 1 + t, token].item() for t, token in enumerate(ids)]


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_of_the_weights_and_follow_from_the_seed(kind, serve, tiny_model_dir, policy):
    made, _ = engine(serve(kind, tiny_model_dir), weights_of(tiny_model_dir, policy))
    assert isinstance(made, Engine)
    found = made.generate(PROMPTS, 3, SETTINGS, seed=1, stop_ids=[1])
    assert [len(row) for row in found] == [3] * 4
    for prompt, row in zip(PROMPTS, found, strict=True):
        for stamped in row:
            sample = stamped.sample
            assert stamped.version == policy.hash() == made.version
            assert sample.log_probs == pytest.approx(scored(policy, prompt, sample.ids), abs=1e-4)
            assert sample.ended == (sample.ids[-1] == 1)
            assert sample.ended or len(sample.ids) == 6
    texts = {s.sample.ids for row in found for s in row}
    assert len(texts) > 9  # the samples of a prompt have seeds of their own
    again = made.generate(PROMPTS, 3, SETTINGS, seed=1, stop_ids=[1])
    assert again == found
    assert made.generate(PROMPTS, 3, SETTINGS, seed=2, stop_ids=[1]) != found
    # a prompt's samples do not depend on those beside it
    assert made.generate(PROMPTS[:2], 3, SETTINGS, seed=1, stop_ids=[1]) == found[:2]


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_is_asked_once(kind, serve, tiny_model_dir, policy):
    server = serve(kind, tiny_model_dir)
    made, _ = engine(server, weights_of(tiny_model_dir, policy))
    greedy = SamplingSettings(temperature=0.0, max_new_tokens=5)
    found = made.generate(PROMPTS, 4, greedy, seed=0, stop_ids=[1])
    here = generate(policy, PROMPTS, 4, greedy, seed=0, stop_ids=[1])
    assert [[s.sample.ids for s in row] for row in found] == [[s.ids for s in r] for r in here]
    assert server.seen == len(PROMPTS)


def test_this_process_is_an_engine(policy):
    made = LocalEngine(policy, policy.hash())
    assert isinstance(made, Engine)
    found = made.generate(PROMPTS, 2, SETTINGS, seed=3, stop_ids=[1])
    assert [[s.sample for s in row] for row in found] == generate(
        policy, PROMPTS, 2, SETTINGS, seed=3, stop_ids=[1]
    )
    assert {s.version for row in found for s in row} == {policy.hash()}


@pytest.mark.parametrize("kind", KINDS)
def test_failures_lose_nothing_and_double_nothing(kind, serve, tiny_model_dir, policy):
    server = serve(kind, tiny_model_dir)
    made, _ = engine(server, weights_of(tiny_model_dir, policy), retries=8)
    calm = made.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1])
    server.asked.clear()
    server.faults = [500, "cut", 429, 503, "abort", 408]
    assert made.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1]) == calm
    assert not server.faults
    answered = [
        json.dumps(p) for path, p in server.asked if path in ("/generate", "/v1/completions")
    ]
    assert len(set(answered)) == len(PROMPTS) and len(answered) == len(PROMPTS) + 1  # the aborted


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_dies_is_told_of_and_goes_on_when_it_is_back(
    kind, serve, tiny_model_dir, policy
):
    server = serve(kind, tiny_model_dir)
    weights = weights_of(tiny_model_dir, policy)
    made, _ = engine(server, weights)
    calm = made.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1])
    server.faults = [500, "die"]
    begun = time.monotonic()
    with pytest.raises(ModelError, match="4 times. What was sampled before is kept"):
        made.generate(PROMPTS * 5, 2, SETTINGS, seed=1, stop_ids=[1])
    assert time.monotonic() - begun < 15
    # back within the retries: nobody notices
    third = serve(kind, tiny_model_dir)
    patient, _ = engine(third, weights, retries=9)
    patient.generate(PROMPTS[:1], 1, SETTINGS, seed=1, stop_ids=[1])
    third.faults = ["die"]

    def revive():
        third.closed.wait(60)
        serve(kind, tiny_model_dir, port=third.port)

    helper = threading.Thread(target=revive)
    helper.start()
    assert patient.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1]) == calm
    helper.join()


def test_sglang_is_given_the_weights_and_keeps_them_after_a_restart(
    serve, tiny_model_dir, policy, moved
):
    folder, other = moved
    server = serve("sglang", tiny_model_dir)
    made, told = engine(server, weights_of(folder, other))
    found = made.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1])
    assert [path for path, _ in server.asked].count("/update_weights_from_disk") == 1
    assert len(told) == 1
    sample = found[0][0].sample
    assert sample.log_probs == pytest.approx(scored(other, PROMPTS[0], sample.ids), abs=1e-4)
    assert sample.log_probs != pytest.approx(scored(policy, PROMPTS[0], sample.ids), abs=1e-2)
    # started again, it has the first weights: no sample of them is taken
    server.model, server.weight_version = str(tiny_model_dir), "default"
    assert made.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1]) == found
    # other weights, put there while samples are drawn, by somebody else
    with pytest.raises(ModelError, match="did not take .*nowhere"):
        engine(server, Weights("nowhere", "v"))[0].generate(
            PROMPTS, 1, SETTINGS, seed=1, stop_ids=[1]
        )


def test_sglang_whose_weights_are_taken_over_again_and_again(serve, tiny_model_dir, moved):
    folder, other = moved
    server = serve("sglang", tiny_model_dir)
    right = server.sglang

    def taken_over(path, payload):
        status, body = right(path, payload)
        server.model, server.weight_version = str(tiny_model_dir), "another-run"
        return status, body

    server.sglang = taken_over
    made, _ = engine(server, weights_of(folder, other))
    with pytest.raises(ModelError, match="samples from another-run.*another run use this server"):
        made.generate(PROMPTS, 1, SETTINGS, seed=1, stop_ids=[1])
    # taken all the same, and stamped with what they are
    lenient, _ = engine(server, weights_of(folder, other), stale=True)
    found = lenient.generate(PROMPTS, 1, SETTINGS, seed=1, stop_ids=[1])
    assert {s.version for row in found for s in row} == {"another-run"}


def test_vllm_is_waited_for_until_it_serves_the_round(serve, tiny_model_dir, policy, moved):
    folder, other = moved
    server = serve("vllm", tiny_model_dir)
    weights = weights_of(folder, other)
    made, told = engine(server, weights)
    with pytest.raises(ModelError, match=f"not {folder}: start vLLM again.*vllm serve {folder}"):
        made.generate(PROMPTS, 1, SETTINGS, seed=1, stop_ids=[1])
    made, told = engine(server, weights, wait_s=20.0)

    def restart():
        while not told:
            time.sleep(0.005)
        server.model, server.name = str(folder), f"{folder.parent}/../{folder.parent.name}/moved"

    helper = threading.Thread(target=restart)
    helper.start()
    found = made.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1])
    helper.join()
    sample = found[0][0].sample
    assert found[0][0].version == other.hash()
    assert sample.log_probs == pytest.approx(scored(other, PROMPTS[0], sample.ids), abs=1e-4)
    # by the name that its hash gives it
    server.name = f"luce-{other.hash()[:12]}"
    assert made.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1]) == found
    # not waited for where stale samples are welcome
    server.model, server.name = str(tiny_model_dir), "first"
    lenient, told = engine(server, weights, stale=True)
    stale = lenient.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1])
    assert {s.version for row in stale for s in row} == {"first"} and not told
    ids = stale[0][0].sample.ids
    assert stale[0][0].sample.log_probs == pytest.approx(scored(policy, PROMPTS[0], ids), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_loaded_by_path_and_again_after_a_restart(
    kind, serve, tiny_model_dir, tmp_path
):
    trained = load_policy(str(tiny_model_dir), lora=LoraSettings(r=2))
    for name, parameter in trained.module.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0.0, 0.3)
    save_model(trained, tmp_path / "adapter")
    other = load_policy(str(tmp_path / "adapter"))
    server = serve(kind, tiny_model_dir)
    weights = Weights(str(tmp_path / "adapter"), other.hash(), adapter=True)
    made, _ = engine(server, weights)
    found = made.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1])
    assert list(server.adapters) == [f"luce-{other.hash()[:12]}"]
    sample = found[1][1].sample
    assert found[1][1].version == other.hash()
    assert sample.log_probs == pytest.approx(scored(other, PROMPTS[1], sample.ids), abs=1e-4)
    server.adapters.clear()
    assert made.generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1]) == found
    # a second process finds it loaded
    assert engine(server, weights)[0].generate(PROMPTS, 2, SETTINGS, seed=1, stop_ids=[1]) == found


def test_answers_that_are_none(serve, tiny_model_dir, policy):
    server = serve("vllm", tiny_model_dir)
    weights = weights_of(tiny_model_dir, policy)
    server.faults = ["html"]
    with pytest.raises(ModelError, match="no `choices`. Is it the kind of server"):
        engine(server, weights)[0].generate(PROMPTS[:1], 1, SETTINGS, seed=1, stop_ids=[1])
    drawn = server.vllm_samples
    for spoil, match in (
        (lambda c: c.pop("token_ids"), "no `token_ids`; vLLM has them from 0.10.2"),
        (lambda c: c.update(logprobs=None), "not one log-probability for each token"),
        (lambda c: c["logprobs"]["token_logprobs"].pop(), "not one log-probability"),
        (lambda c: c.update(token_ids=[]), "not one log-probability"),
    ):

        def spoilt(payload, abort, spoil=spoil):
            status, body = drawn(payload, abort)
            spoil(body["choices"][0])
            return status, body

        server.vllm_samples = spoilt
        with pytest.raises(ModelError, match=match):
            engine(server, weights)[0].generate(PROMPTS[:1], 2, SETTINGS, seed=1, stop_ids=[1])

    def short(payload, abort):
        status, body = drawn(payload, abort)
        return status, body | {"choices": body["choices"][:1]}

    server.vllm_samples = short
    with pytest.raises(ModelError, match="asked for 2 samples of at most 6 tokens, and got 1"):
        engine(server, weights)[0].generate(PROMPTS[:1], 2, SETTINGS, seed=1, stop_ids=[1])
    # a refusal is said at once
    server.vllm_samples = lambda payload, abort: (400, {"error": "prompt too long"})
    with pytest.raises(ModelError, match="refuses the request. It says 400: .*prompt too long"):
        engine(server, weights)[0].generate(PROMPTS[:1], 2, SETTINGS, seed=1, stop_ids=[1])
    other = serve("sglang", tiny_model_dir)
    other.kind = "vllm"  # what it is taken for
    made, _ = engine(other, weights)
    other.kind = "sglang"
    with pytest.raises(ModelError, match="no such server. Look at `online.engine.kind`"):
        made.generate(PROMPTS[:1], 2, SETTINGS, seed=1, stop_ids=[1])


def test_keys_come_from_the_environment_and_are_not_shown(
    serve, tiny_model_dir, policy, monkeypatch
):
    secret = "sk-very-secret-0123"
    server = serve("vllm", tiny_model_dir, key=secret)
    weights = weights_of(tiny_model_dir, policy)
    with pytest.raises(ModelError, match="LUCE_TEST_KEY, which is not set"):
        Http(server.url, api_key_env="LUCE_TEST_KEY")
    monkeypatch.setenv("LUCE_TEST_KEY", secret)
    http = Http(server.url, api_key_env="LUCE_TEST_KEY", retries=0)
    assert ServerEngine("vllm", http, weights).generate(
        PROMPTS[:1], 1, SETTINGS, seed=1, stop_ids=[1]
    )
    monkeypatch.setenv("LUCE_TEST_KEY", secret[::-1])
    http = Http(server.url, api_key_env="LUCE_TEST_KEY", retries=0)
    with pytest.raises(ModelError) as caught:
        ServerEngine("vllm", http, weights).generate(PROMPTS[:1], 1, SETTINGS, seed=1, stop_ids=[1])
    assert "key is wrong or missing" in str(caught.value) and "[key]" in str(caught.value)
    assert secret[::-1] not in str(caught.value)


def test_a_key_does_not_follow_a_redirect(serve, tiny_model_dir, monkeypatch):
    monkeypatch.setenv("LUCE_TEST_KEY", "sk-very-secret-0123")
    other, seen = serve("vllm", tiny_model_dir), []
    server = serve("vllm", tiny_model_dir)
    other.handle = lambda request, payload: seen.append(request.headers.get("Authorization"))

    def redirect(request, payload):
        request.send_response(302)
        request.send_header("Location", f"{other.url}/v1/models")
        request.send_header("Content-Length", "0")
        request.end_headers()

    server.handle = redirect
    with pytest.raises(Refused, match="302"):
        Http(server.url, api_key_env="LUCE_TEST_KEY").call("/v1/models")
    assert seen == []


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://a", "http://user:key@a", "http://a/v1", "http://a?k=1"]
)
def test_addresses_that_are_none(url):
    with pytest.raises(ModelError, match="without /v1"):
        Http(url)
