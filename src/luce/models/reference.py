"""The reference policy, and its log-probabilities: made once, kept on disk, refused when stale.

What is kept is keyed by the reference's parameter hash and precision (one folder each) and by the
tokens of prompt and response (one entry each), so a run that is started again reads instead of
computing, and a run with another reference does not read what is not its own.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from luce.errors import ModelError, ReferencePolicyError
from luce.files import write_atomic, write_json
from luce.models import network
from luce.models.out_of_memory import blamed
from luce.models.policy import CausalPolicy, Distribution, HeadMode, load_policy
from luce.types import Branch, Group, Packed

VERSION = 2
"""Of the numbers: raised when a change of code changes what is kept."""

SHARD_TOKENS = 1 << 18
"""Log-probabilities per file, about 1 MiB; what is lost when a run is killed meanwhile."""


@dataclass(frozen=True)
class ReferencePolicy:
    """What a run compares its policy with.

    Attributes:
        kind: initial (the policy as it stands now, adapters and changes in memory included), base
            (the model under the adapter) or path (a model of its own).
        path: where it was loaded from.
        hash: of its parameters.
        policy: the network that gives its log-probabilities. For `initial` and `base` that is the
            policy in training: ask before the first step, afterwards from a cache, or `resident`.
    """

    kind: Literal["initial", "base", "path"]
    path: str
    hash: str
    policy: CausalPolicy

    @property
    def dtype(self) -> str:
        """The precision of its numbers, by name."""
        return self.policy.dtype

    @property
    def head(self) -> HeadMode:
        """How the network's hidden states become log-probabilities."""
        return self.policy.head

    def log_probs(self, packed: Packed) -> Float[Tensor, " scored"]:
        """log π_ref of each scored token, nats, without gradient and without dropout."""
        with self._as_it_was():
            return self.policy.log_probs(packed)

    def distribution(self, packed: Packed, head: HeadMode) -> Distribution:
        """π_ref(·|x, y_<t) at each scored token, without gradient and without dropout."""
        with self._as_it_was():
            return self.policy.distribution(packed, head)

    def resident(self) -> "ReferencePolicy":
        """The same reference on weights that training does not touch, to be asked at any step.

        A path has a network of its own. `base`, and `initial` where the adapter is fresh and so
        starts as the identity, are the policy's network with its adapter off. Any other `initial`
        is copied as it stands: ask before the first step; it takes the memory of the weights again.
        """
        if self.kind != "initial":
            return self
        if adapter_off(self.kind, self.policy):
            return replace(self, kind="base")
        twin = copy.copy(self.policy)
        twin.module = copy.deepcopy(self.policy.module).requires_grad_(False)
        return replace(self, policy=twin)

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        adapter = self.policy.adapter_disabled() if self.kind == "base" else nullcontext()
        with network.evaluating(self.policy.module), adapter:
            yield


def adapter_off(kind: str, policy: CausalPolicy) -> bool:
    """Whether a reference of this kind is the network in training without its adapter: `base`, and
    `initial` where the adapter is fresh and so starts as the identity."""
    fresh = policy.has_adapter and policy.lora is not None
    return kind == "base" or (kind == "initial" and fresh)


def open_reference(
    kind: str, policy: CausalPolicy, *, trust_remote_code: bool = False
) -> ReferencePolicy | None:
    """The reference of a run: `initial`, `base`, a model folder or hub name, or None for `none`.

    Raises:
        ReferencePolicyError: `base` of a policy without an adapter; a model that reads other tokens
            than the policy does.
    """
    if kind == "none":
        return None
    if kind == "initial":
        return ReferencePolicy("initial", policy.path, policy.hash(), policy)
    if kind == "base":
        if not policy.has_adapter:
            raise ReferencePolicyError(
                "reference: base is the model under an adapter, and this policy has none: all of "
                "its weights are trained. Use `reference: initial`."
            )
        return ReferencePolicy("base", policy.base, policy.hash(adapters=False), policy)
    try:
        other = load_policy(
            kind,
            dtype=str(policy.inner.dtype).removeprefix("torch."),
            trust_remote_code=trust_remote_code,
            device=policy.device,
        )
    except ModelError as error:
        raise ReferencePolicyError(f"reference: {error}") from error
    if other.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise ReferencePolicyError(
            f"reference: {kind} has another vocabulary than {policy.path}; their log-probabilities "
            "are not of the same tokens. Use a reference with the policy's tokenizer."
        )
    other.module.requires_grad_(False)
    other.autocast = policy.autocast
    return ReferencePolicy("path", kind, other.hash(), other)


class ReferenceCache:
    """Reference log-probabilities on disk and in memory.

    Attributes:
        folder: where they are kept.
        reference_hash, dtype: whose they are, and in what precision they were made.
    """

    def __init__(self, folder: Path, reference_hash: str, dtype: str) -> None:
        """Opens or starts a cache. Raises ReferencePolicyError where the folder holds another
        reference's, or is damaged."""
        self.folder = Path(folder)
        self.reference_hash = reference_hash
        self.dtype = dtype
        self._values: dict[bytes, np.ndarray] = {}
        self._shards = 0
        self._of = f"{reference_hash} {dtype}"
        mine = {"reference": reference_hash, "dtype": dtype, "version": VERSION}
        identity = self.folder / "identity.json"
        if not identity.exists():
            write_json(identity, mine)
        found = json.loads(identity.read_text(encoding="utf-8"))
        if found != mine:
            raise ReferencePolicyError(
                f"{self.folder}: holds log-probabilities of reference "
                f"{str(found.get('reference'))[:12]} in {found.get('dtype')}, but this run's is "
                f"{reference_hash[:12]} in {dtype}. Delete the folder, or name another one."
            )
        for shard in sorted(self.folder.glob("shard-*.safetensors")):
            self._read(shard)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, group: Group) -> bool:
        return all(token_key(group, branch) in self._values for branch in group.branches)

    def lookup(self, groups: Iterable[Group]) -> Float[Tensor, " scored"]:
        """log π_ref of every scored token, float32 nats, in the order of a row packed from these
        groups. Raises ReferencePolicyError where one is not there."""
        found = []
        for group in groups:
            for number, branch in enumerate(group.branches):
                values = self._values.get(token_key(group, branch))
                if values is None:
                    raise ReferencePolicyError(
                        f"{group.place}: response {number} of {group.id} is not among the "
                        f"reference log-probabilities in {self.folder}. Compute them on this data."
                    )
                found.append(values)
        return torch.from_numpy(np.concatenate(found) if found else np.zeros(0, np.float32))

    def add(self, entries: dict[bytes, np.ndarray]) -> None:
        """Keeps these, whole or not at all."""
        if not entries:
            return
        lengths = np.array([len(v) for v in entries.values()], dtype=np.int64)
        arrays = {
            "keys": np.frombuffer(b"".join(entries), dtype=np.uint8).reshape(len(entries), -1),
            "lengths": lengths,
            "values": np.concatenate(list(entries.values())).astype(np.float32),
        }
        path = self.folder / f"shard-{self._shards:05d}.safetensors"
        # one entry: the file would hold several in any order, and equal runs would differ
        write_atomic(path, save(arrays, {"of": self._of}))
        self._read(path)

    def _read(self, shard: Path) -> None:
        try:
            with safe_open(shard, "numpy") as stream:
                named = stream.metadata() or {}
                keys, lengths, values = (
                    stream.get_tensor(name) for name in ("keys", "lengths", "values")
                )
        except (SafetensorError, OSError) as error:
            raise ReferencePolicyError(
                f"{shard}: damaged ({error}). Delete it; what it held is computed again."
            ) from error
        if named.get("of") != self._of:
            raise ReferencePolicyError(
                f"{shard}: belongs to another reference than the rest of its folder. Delete it."
            )
        for key, part in zip(keys, np.split(values, np.cumsum(lengths)[:-1]), strict=True):
            self._values[key.tobytes()] = part
        self._shards = max(self._shards, int(shard.stem.removeprefix("shard-")) + 1)


def token_key(group: Group, branch: Branch) -> bytes:
    """16 bytes of sha256 over the tokens of prompt and response and what of it is scored."""
    digest = hashlib.sha256()
    digest.update(len(group.prompt).to_bytes(8, "little"))
    digest.update(np.ascontiguousarray(group.prompt, dtype="<i4").data)
    digest.update(np.ascontiguousarray(branch.ids, dtype="<i4").data)
    digest.update(np.ascontiguousarray(branch.scored, dtype=np.uint8).data)
    return digest.digest()[:16]


def compute_reference(
    reference: ReferencePolicy,
    groups: Sequence[Group],
    pack: Callable[[Sequence[Group]], Packed],
    cache_dir: Path,
    *,
    max_tokens: int = 8192,
    progress: Callable[[int, int], None] | None = None,
) -> ReferenceCache:
    """A cache that holds every response of these groups; only what is missing is computed.

    Groups of like length go together, and which go together depends on the groups alone: a run
    that was killed meanwhile computes the rest in the same rows, hence to the same bits.

    Args:
        pack: makes a row of groups (`luce.data.pack.pack`).
        max_tokens: input tokens of a row, at most; a longer group has a row of its own.
        progress: called with (groups done, groups in all) after every row.
    """
    cache = ReferenceCache(cache_dir, reference.hash, reference.dtype)
    pending: dict[bytes, np.ndarray] = {}
    done = waiting = 0
    for part in _rows(groups, max_tokens):
        if not all(group in cache for group in part):
            packed = pack(part)
            with blamed(part):
                values = reference.log_probs(packed).float().cpu().numpy()
            branches = [(group, branch) for group in part for branch in group.branches]
            ends = np.cumsum(packed.lengths.cpu().numpy())[:-1]
            for (group, branch), own in zip(branches, np.split(values, ends), strict=True):
                pending.setdefault(token_key(group, branch), own)
            waiting += len(values)
            if waiting >= SHARD_TOKENS:
                cache.add(pending)
                pending, waiting = {}, 0
        done += len(part)
        if progress is not None:
            progress(done, len(groups))
    cache.add(pending)
    return cache


def _rows(groups: Sequence[Group], max_tokens: int) -> Iterable[list[Group]]:
    """The groups by falling size, as many to a row as it holds."""
    row: list[Group] = []
    room = max_tokens
    for group in sorted(groups, key=lambda g: -g.tokens):
        if row and group.tokens > room:
            yield row
            row, room = [], max_tokens
        row.append(group)
        room -= group.tokens
    if row:
        yield row
