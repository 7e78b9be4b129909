"""How vLLM and SGLang are asked for samples by token ids, and how they get a round's weights.

Both are asked with every sampling setting spelled out: what a request leaves open, a server fills
from the model's generation_config.json (top_k = 20, a repetition penalty …), and the samples would
be another distribution's.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from luce.errors import ModelError
from luce.models.engine import SamplingSettings
from luce.models.engine_http import Http, Refused, Temporary
from luce.models.engines import Weights

POLL_S = 2.0
"""Seconds between two looks at a server that does not have the weights yet."""


@dataclass(frozen=True)
class Handle:
    """What is asked.

    Attributes:
        name: of the model or adapter at the server.
        version: of its weights: the wanted ones', or else what the server calls them.
    """

    name: str
    version: str


@dataclass(frozen=True)
class Reply:
    """One response as a server gives it: token ids, their log-probabilities at temperature 1, in
    nats, and the version of the weights."""

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    version: str


@dataclass(frozen=True)
class Waiting:
    """How long to wait for the weights.

    Attributes:
        seconds: at most.
        any_weights: True: not at all where the server has others.
        tell: called once with what is waited for.
    """

    seconds: float
    any_weights: bool
    tell: Callable[[str], None]


@runtime_checkable
class Dialect(Protocol):
    """The words of one kind of server."""

    def serve(self, http: Http, weights: Weights, waiting: Waiting) -> Handle:
        """Have the server take the weights, or wait until it has them."""
        ...

    def request(
        self,
        handle: Handle,
        prompt: Sequence[int],
        n: int,
        settings: SamplingSettings,
        seed: int,
        stop_ids: Sequence[int],
    ) -> tuple[str, dict[str, Any]]:
        """Path and payload that ask for n samples."""
        ...

    def read(self, body: Any, handle: Handle) -> list[Reply]:
        """The samples in the body of an answer.

        Raises:
            Malformed: there is something else in it.
            Temporary: the server gave the request up.
        """
        ...

    def lost(self, error: Refused, handle: Handle) -> bool:
        """Whether the server says that it does not have the model or adapter of the handle."""
        ...


class Malformed(Exception):
    """An answer that is none of this kind of server; the message says what is missing."""


class Vllm:
    """vLLM 0.10.2 or later: /v1/completions on token ids, with `return_token_ids`.

    Adapters are loaded by /v1/load_lora_adapter under a name made of their hash. Whole weights are
    those that the server was started on, since no answer says which weights a running server was
    given later: it is to be started again for each round, and this waits for it.
    """

    def serve(self, http: Http, weights: Weights, waiting: Waiting) -> Handle:
        """See `Dialect`."""
        name = adapter_name(weights)
        if weights.adapter:
            if name not in [card["id"] for card in _cards(http.call("/v1/models"))]:
                self._load(http, name, weights)
            return Handle(name, weights.version)
        remedy = (
            f"start vLLM again on the weights of this round: vllm serve {weights.path} (or with "
            f"--served-model-name {name})"
        )
        end, told = time.monotonic() + waiting.seconds, False
        while True:
            try:
                cards = _cards(http.once("/v1/models"))
            except Temporary:  # it is being started
                cards = []
            for card in cards:
                if card["id"] == name or same_place(card["id"], weights.path):
                    return Handle(card["id"], weights.version)
            bases = [card["id"] for card in cards if not card.get("parent")]
            if bases and waiting.any_weights:
                return Handle(bases[0], bases[0])
            if time.monotonic() >= end:
                raise ModelError(
                    f"{http.base_url} serves {', '.join(bases) or 'nothing'}, not {weights.path}: "
                    f"{remedy}, and go on with --resume."
                )
            if not told:
                waiting.tell(f"waiting for {http.base_url}: {remedy}")
                told = True
            time.sleep(min(POLL_S, max(0.0, end - time.monotonic())))

    @staticmethod
    def _load(http: Http, name: str, weights: Weights) -> None:
        given = {"lora_name": name, "lora_path": str(Path(weights.path).absolute())}
        try:
            http.call("/v1/load_lora_adapter", given)
        except Refused as error:
            # another process may have loaded it in the meantime
            if name not in [card["id"] for card in _cards(http.call("/v1/models"))]:
                raise ModelError(
                    f"{http.base_url}: vLLM did not load the adapter {weights.path} ({error}). "
                    "Start it on the base model with --enable-lora and a --max-lora-rank of the "
                    "adapter's, and with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
                ) from None

    def request(
        self,
        handle: Handle,
        prompt: Sequence[int],
        n: int,
        settings: SamplingSettings,
        seed: int,
        stop_ids: Sequence[int],
    ) -> tuple[str, dict[str, Any]]:
        """See `Dialect`. Sample j is drawn with seed + j by the server."""
        return "/v1/completions", {
            "model": handle.name,
            "prompt": list(prompt),
            "n": n,
            "seed": seed,
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "stop_token_ids": list(stop_ids),
            "ignore_eos": True,  # only `stop_ids` end a response
            "skip_special_tokens": False,
            "logprobs": 1,
            "return_token_ids": True,
        }

    def read(self, body: Any, handle: Handle) -> list[Reply]:
        """See `Dialect`."""
        choices = body.get("choices") if isinstance(body, dict) else None
        if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
            raise Malformed("no `choices`")
        if not all(_whole(choice.get("index", 0)) for choice in choices):
            raise Malformed("`index` is no number")
        model = body.get("model")
        version = handle.version if model == handle.name else str(model)
        found = []
        for choice in sorted(choices, key=lambda c: c.get("index", 0)):
            if choice.get("finish_reason") not in ("stop", "length"):
                raise Temporary(f"finish_reason {choice.get('finish_reason')}")
            ids, logs = choice.get("token_ids"), choice.get("logprobs")
            if not isinstance(ids, list):
                raise Malformed("no `token_ids`; vLLM has them from 0.10.2 on")
            values = logs.get("token_logprobs") if isinstance(logs, dict) else None
            found.append(_reply(ids, values, version))
        return found

    def lost(self, error: Refused, handle: Handle) -> bool:
        """See `Dialect`."""
        return error.status == 404


class Sglang:
    """SGLang 0.5.4 or later: /generate on token ids, with `return_logprob`.

    Whole weights are loaded by /update_weights_from_disk with their hash as `weight_version`, which
    every answer repeats; adapters by /load_lora_adapter under a name made of their hash. At other
    temperatures than 1 the server is to be started with SGLANG_RETURN_ORIGINAL_LOGPROB=1, or its
    log-probabilities are those at that temperature.
    """

    def serve(self, http: Http, weights: Weights, waiting: Waiting) -> Handle:
        """See `Dialect`."""
        if weights.adapter:
            name = adapter_name(weights)
            given = {"lora_name": name, "lora_path": str(Path(weights.path).absolute())}
            self._told(http, "/load_lora_adapter", given, weights, done="already")
            return Handle(name, weights.version)
        info = http.call("/get_model_info")
        if not isinstance(info, dict) or info.get("weight_version") != weights.version:
            path = Path(weights.path)
            place = str(path.absolute()) if path.exists() else weights.path
            waiting.tell(f"{http.base_url}: loading {weights.path}")
            given = {"model_path": place, "weight_version": weights.version}
            self._told(http, "/update_weights_from_disk", given, weights)
        return Handle("", weights.version)

    @staticmethod
    def _told(
        http: Http, path: str, given: Mapping[str, str], weights: Weights, done: str | None = None
    ) -> None:
        try:
            body = http.call(path, given)
            if not isinstance(body, dict) or body.get("success", True):
                return
            text = str(body.get("message") or body.get("error_message") or body)
        except Refused as error:
            text = error.text
        if done is None or done not in text:
            raise ModelError(
                f"{http.base_url}{path}: SGLang did not take {weights.path} ({text[:300]}). The "
                "folder must be in sight of the server, and of the model that it was started on; "
                "adapters need --enable-lora."
            )

    def request(
        self,
        handle: Handle,
        prompt: Sequence[int],
        n: int,
        settings: SamplingSettings,
        seed: int,
        stop_ids: Sequence[int],
    ) -> tuple[str, dict[str, Any]]:
        """See `Dialect`. Sample j has the seed + j, which the server follows where it was started
        with --enable-deterministic-inference."""
        given = {
            "max_new_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "stop_token_ids": list(stop_ids),
            "skip_special_tokens": False,
            "no_stop_trim": True,
        }
        payload: dict[str, Any] = {
            "input_ids": [list(prompt) for _ in range(n)],
            "sampling_params": [given | {"sampling_seed": seed + j} for j in range(n)],
            "return_logprob": True,
        }
        if handle.name:
            payload["lora_path"] = [handle.name] * n
        return "/generate", payload

    def read(self, body: Any, handle: Handle) -> list[Reply]:
        """See `Dialect`."""
        if not isinstance(body, list):
            raise Malformed("no list of answers")
        found = []
        for one in body:
            meta = one.get("meta_info") if isinstance(one, dict) else None
            if not isinstance(meta, dict):
                raise Malformed("no `meta_info`")
            ended = meta.get("finish_reason")
            reason = ended.get("type") if isinstance(ended, dict) else ended
            if reason not in ("stop", "length"):
                raise Temporary(f"finish_reason {reason}")
            scored = meta.get("output_token_logprobs")
            if not isinstance(scored, list) or not all(_entry(entry) for entry in scored):
                raise Malformed("no `output_token_logprobs`")
            ids = [entry[1] for entry in scored]
            plain = one.get("output_ids", ids)
            if not isinstance(plain, list) or ids[: len(plain)] != plain:
                raise Malformed("`output_ids` are not the tokens of `output_token_logprobs`")
            version = handle.version if handle.name else str(meta.get("weight_version"))
            found.append(_reply(ids, [entry[0] for entry in scored], version))
        return found

    def lost(self, error: Refused, handle: Handle) -> bool:
        """See `Dialect`."""
        return bool(handle.name) and "lora" in error.text.lower()


DIALECTS: Mapping[str, Dialect] = {"vllm": Vllm(), "sglang": Sglang()}
"""Kind of server → how it is asked."""


def adapter_name(weights: Weights) -> str:
    """What a server calls these weights: a name that no others have."""
    return f"luce-{weights.version[:12]}"


def same_place(name: str, path: str) -> bool:
    """Whether a served model's name is this path, or is another way to write it."""
    return name == path or (Path(path).exists() and Path(name).resolve() == Path(path).resolve())


def _cards(body: Any) -> list[dict[str, Any]]:
    listed = body.get("data") if isinstance(body, dict) else None
    return [c for c in listed or [] if isinstance(c, dict) and isinstance(c.get("id"), str)]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _entry(value: Any) -> bool:
    """Whether it begins as SGLang's (log-probability, token, text) does."""
    return isinstance(value, list) and len(value) >= 2


def _reply(ids: list[Any], values: Any, version: str) -> Reply:
    if not all(_whole(i) and i >= 0 for i in ids):
        raise Malformed("tokens that are no numbers")
    numbers = isinstance(values, list) and all(
        isinstance(v, int | float) and math.isfinite(v) for v in values
    )
    if not numbers or len(values) != len(ids) or not ids:
        raise Malformed("not one log-probability for each token")
    return Reply(tuple(ids), tuple(map(float, values)), version)
