"""Sampling from a server, vLLM or SGLang, that runs in an environment of its own.

Prompts are asked side by side, each with a seed of its own. A request that fails is asked again;
one that is answered by other weights is refused, or its samples carry the version that drew them.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from luce.errors import ModelError
from luce.models.engine import Sample, SamplingSettings
from luce.models.engine_dialects import DIALECTS, Handle, Malformed, Reply, Waiting
from luce.models.engine_http import Http, Refused, Temporary
from luce.models.engines import Stamped, Weights


class ServerEngine:
    """An engine behind an address; see `luce.models.engines.Engine`.

    Args:
        kind: "vllm" or "sglang".
        http: the server.
        weights: that are to sample; the server is given them, or waited for, at the first prompt.
        concurrency: prompts asked at once.
        wait_s: how long the server may take to have the weights.
        stale: take samples of other weights too; each is stamped with what the server calls them.
        tell: told what is waited for.
    """

    def __init__(
        self,
        kind: str,
        http: Http,
        weights: Weights,
        *,
        concurrency: int = 64,
        wait_s: float = 1800.0,
        stale: bool = False,
        tell: Callable[[str], None] = print,
    ):
        self._dialect, self._http, self._weights = DIALECTS[kind], http, weights
        self._concurrency, self._stale = concurrency, stale
        self._waiting = Waiting(wait_s, stale, tell)
        self._lock = threading.Lock()
        self._handle: Handle | None = None

    @property
    def version(self) -> str:
        """Of the weights that are asked for."""
        return self._weights.version

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        settings: SamplingSettings,
        *,
        seed: int,
        stop_ids: Sequence[int],
    ) -> list[list[Stamped]]:
        """See `Engine`. A response that the server ended with a token that is none of `stop_ids`
        has not ended.

        Raises:
            ModelError: the server cannot be reached, answers otherwise than its kind does, refuses
                a prompt, or has other weights and none may be stale.
        """
        drawn = 1 if settings.temperature == 0 else n

        def asked(i: int) -> list[Stamped]:
            replies = self._ask(prompts[i], drawn, settings, _seed(seed, i), stop_ids)
            row = [_stamped(reply, stop_ids) for reply in replies]
            return row * n if drawn < n else row

        with ThreadPoolExecutor(self._concurrency) as pool:
            tasks = [pool.submit(asked, i) for i in range(len(prompts))]
            try:
                done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
                failed = next((t for t in done if t.exception() is not None), None)
                if failed is not None:
                    failed.result()
            except BaseException:
                self._http.halted.set()  # the others do not try again
                pool.shutdown(cancel_futures=True)
                self._http.halted.clear()
                raise
        return [task.result() for task in tasks]

    def _ask(
        self,
        prompt: Sequence[int],
        n: int,
        settings: SamplingSettings,
        seed: int,
        stop_ids: Sequence[int],
    ) -> list[Reply]:
        """n replies of one prompt, all of weights that may be used."""
        why, place = "", self._http.base_url
        for retry in range(self._http.retries + 1):
            handle = self._served()
            path, payload = self._dialect.request(handle, prompt, n, settings, seed, stop_ids)
            try:
                replies = self._dialect.read(self._http.call(path, payload), handle)
            except Refused as error:
                if not self._dialect.lost(error, handle):
                    raise self._refusal(error) from None
                # a server that was started again has lost its adapters, or serves another name
                why = str(error)
                self._lose(handle)
            except Temporary as error:
                why = str(error)
            except Malformed as error:
                raise ModelError(
                    f"{place}{path}: {error}. Is it the kind of server that `online.engine.kind` "
                    "names, and recent enough?"
                ) from None
            else:
                if len(replies) != n or any(len(r.ids) > settings.max_new_tokens for r in replies):
                    raise ModelError(
                        f"{place}{path}: asked for {n} samples of at most "
                        f"{settings.max_new_tokens} tokens, and got {len(replies)} of "
                        f"{[len(r.ids) for r in replies]}."
                    )
                strange = {r.version for r in replies} - {self.version}
                if not strange or self._stale:
                    return replies
                why = f"it samples from {', '.join(sorted(strange))}, and not {self.version[:12]}"
                self._lose(handle)
            if self._http.halted.wait(self._http.wait_s(retry)):
                break
        raise ModelError(
            f"{place}: {why}, again and again. Does another run use this server? What was sampled "
            "before is kept: go on with --resume."
        )

    def _served(self) -> Handle:
        with self._lock:
            if self._handle is None:
                try:
                    self._handle = self._dialect.serve(self._http, self._weights, self._waiting)
                except Refused as error:
                    raise self._refusal(error) from None
            return self._handle

    def _refusal(self, error: Refused) -> ModelError:
        remedy = {
            401: "the key is wrong or missing. Set `online.engine.api_key_env`",
            403: "this key may not use the server",
            404: "there is no such server. Look at `online.engine.kind` and `base_url`",
        }.get(error.status, "the server refuses the request")
        return ModelError(f"{self._http.base_url}: {remedy}. It says {error}")

    def _lose(self, handle: Handle) -> None:
        """The server does not have what it had: it is to be given the weights again."""
        with self._lock:
            if self._handle is handle:
                self._handle = None


def _stamped(reply: Reply, stop_ids: Sequence[int]) -> Stamped:
    ended = reply.ids[-1] in stop_ids
    return Stamped(Sample(reply.ids, reply.log_probs, ended), reply.version)


def _seed(seed: int, i: int) -> int:
    """A seed of prompt i alone, with room for + j below 2³¹."""
    digest = hashlib.sha256(repr((seed, i)).encode()).digest()
    return int.from_bytes(digest[:4]) % 2_000_000_000
