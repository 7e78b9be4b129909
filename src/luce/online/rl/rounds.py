"""The rounds of a run on disk: sampled and graded once, whatever becomes of the process.

    rounds/round-00001/
        block-0000.safetensors   tokens, log-probabilities, rewards: what training reads
        samples.jsonl            the same for people: prompts, responses, rewards

A block is written whole or not at all, with the hash of the weights that drew it, and is read only
by a run that stands at these very weights. Blocks of rounds to which no checkpoint leads back are
deleted; the samples stay.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from luce.data.template import Renderer
from luce.errors import CheckpointError
from luce.files import fingerprint, write_atomic, write_jsonl
from luce.online.rl.rollout import Actors, Prompt, Rollout, RolloutSettings, draw_rollouts
from luce.types import Branch, Group

PER_TOKEN = ("sampler", "behavior", "reference", "value")
PER_RESPONSE = ("reward", "ended", "entropy")


class Rounds:
    """The rounds of a run.

    Args:
        folder: `rounds/` of the run.
        actors: who samples and who grades.
        settings: how.
    """

    def __init__(self, folder: Path, actors: Actors, settings: RolloutSettings) -> None:
        self.folder, self.actors, self.settings = folder, actors, settings

    def take(
        self, number: int, prompts: Sequence[Prompt], version: str, draw: bool = True
    ) -> list[Rollout]:
        """The samples of a round, in the order of the prompts: read where they are on disk, and
        drawn where they are not.

        Args:
            number: of the round, from 1.
            version: of the weights that sample (`Actors.version`).
            draw: whether the weights are those; if not, what is missing cannot be made up for.

        Raises:
            CheckpointError: a block is missing that can no longer be drawn.
        """
        found: list[Rollout] = []
        size = self.settings.block
        for block, start in enumerate(range(0, len(prompts), size)):
            part = prompts[start : start + size]
            path = self.place(number) / f"block-{block:04d}.safetensors"
            rollouts = _read(path, part, self._key(part, version), self.actors.renderer)
            if rollouts is None:
                if not draw:
                    raise CheckpointError(
                        f"{path}: missing, damaged, or not of this run. The run was stopped within "
                        "this round and cannot sample it again. Delete its newest checkpoints, "
                        "down to one of an earlier round, or start anew in another output_dir."
                    )
                seed = block_seed(self.settings.seed, number, block)
                rollouts = draw_rollouts(self.actors, part, self.settings, seed)
                write_atomic(path, _written(rollouts, self._key(part, version)))
            found += rollouts
        if draw:
            write_jsonl(self.place(number) / "samples.jsonl", map(_for_people, found))
        return found

    def forget(self, before: int) -> None:
        """Delete the blocks of the rounds before this one."""
        for folder in self.folder.glob("round-*"):
            if int(folder.name.removeprefix("round-")) < before:
                for path in folder.glob("block-*.safetensors"):
                    path.unlink()

    def place(self, number: int) -> Path:
        """The folder of a round."""
        return self.folder / f"round-{number:05d}"

    def _key(self, prompts: Sequence[Prompt], version: str) -> str:
        """What a block depends on."""
        s = self.settings
        sampling = [s.n, s.sampling.temperature, s.sampling.top_p, s.sampling.max_new_tokens]
        reference = self.actors.reference
        return fingerprint(
            {
                "version": version,
                "reference": None if reference is None else reference.hash,
                "sampling": [*sampling, s.seed],
                "prompts": [list(p.ids) for p in prompts],
            }
        )


def block_seed(seed: int, number: int, block: int) -> int:
    """The seed of a block's samples: others for every round and block."""
    return int(np.random.SeedSequence([seed, number, block]).generate_state(1, np.uint64)[0])


def _written(rollouts: Sequence[Rollout], key: str) -> bytes:
    tensors: dict[str, Tensor] = {
        "ids": torch.from_numpy(
            np.concatenate([b.ids for r in rollouts for b in r.group.branches])
        ),
        "lengths": torch.tensor([n for r in rollouts for n in r.lengths]),
    }
    for name in (*PER_TOKEN, *PER_RESPONSE):
        parts = [getattr(r, name) for r in rollouts]
        if parts[0] is not None:
            tensors[name] = torch.cat(parts)
    return save(tensors, {"key": key})


def _read(
    path: Path, prompts: Sequence[Prompt], key: str, renderer: Renderer
) -> list[Rollout] | None:
    """A block's rollouts; None where there is no such file, or not of these prompts and weights."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as stream:
            if (stream.metadata() or {}).get("key") != key:
                return None
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):  # written by a disk that failed: drawn again
        return None
    n = len(tensors["lengths"]) // len(prompts)
    lengths = tensors.pop("lengths").reshape(len(prompts), n).tolist()
    tokens = [sum(row) for row in lengths]
    parts: dict[str, Sequence[Tensor]] = {
        name: t.split(n if name in PER_RESPONSE else tokens) for name, t in tensors.items()
    }
    return [
        _rollout(
            prompt, lengths[i], {k: chunks[i].clone() for k, chunks in parts.items()}, renderer
        )
        for i, prompt in enumerate(prompts)
    ]


def _rollout(
    prompt: Prompt, lengths: Sequence[int], tensors: Mapping[str, Any], renderer: Renderer
) -> Rollout:
    values = dict(tensors)
    branches = tuple(
        Branch(ids.numpy(), np.ones(len(ids), dtype=bool))
        for ids in values.pop("ids").split(list(lengths))
    )
    group = Group(np.asarray(prompt.ids, dtype=np.int32), branches, prompt.id, prompt.place)
    texts = tuple(renderer.response_text(b.ids.tolist()) for b in branches)
    return Rollout(prompt=prompt, group=group, texts=texts, **values)


def _for_people(rollout: Rollout) -> dict[str, Any]:
    text = rollout.prompt.text
    return {
        "id": rollout.prompt.id,
        "prompt": text if isinstance(text, str) else [dict(turn) for turn in text],
        "responses": [
            {"text": said, "tokens": length, "ended": ended, "reward": reward}
            for said, length, ended, reward in zip(
                rollout.texts,
                rollout.lengths,
                rollout.ended.tolist(),
                rollout.reward.tolist(),
                strict=True,
            )
        ],
    }
