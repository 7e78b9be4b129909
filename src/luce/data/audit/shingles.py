"""Texts that are nearly the same: Jaccard similarity of word shingles, found by minhash."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

WIDTH = 3
"""Words of a shingle."""

HASHES, BANDS = 64, 16
"""Minhashes of a text, and the bands they are cut into: texts that agree on a whole band are
compared exactly. With 4 in a band, two of Jaccard 0.8 are with P = 1 − (1 − 0.8⁴)¹⁶ > 0.999."""

_PRIME = np.uint64((1 << 31) - 1)
MOST_IN_BUCKET = 50
"""Texts of one bucket that are compared with each other; of more, each with the first ones."""


def shingles(words: Sequence[str], width: int = WIDTH) -> frozenset[int]:
    """The hashes of all runs of `width` words; of the whole where it is shorter.

    >>> len(shingles("a b c d".split())), len(shingles(["a"]))
    (2, 1)
    """
    if not words:
        return frozenset()
    runs = max(1, len(words) - width + 1)
    return frozenset(_hash(" ".join(words[i : i + width])) for i in range(runs))


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    """|a ∩ b| / |a ∪ b|; 0 where both are empty.

    >>> jaccard(frozenset({1, 2}), frozenset({2, 3}))
    0.3333333333333333
    """
    union = len(a | b)
    return len(a & b) / union if union else 0.0


def near_pairs(
    sets: Sequence[frozenset[int]], threshold: float, seed: int = 0
) -> Iterator[tuple[int, int, float]]:
    """(i, j, Jaccard) with i < j of sets at least this similar, each once; the similarity is
    exact, that none is missed is as likely as `BANDS` says. Empty sets have no neighbours."""
    signatures = _signatures(sets, seed)
    seen: set[tuple[int, int]] = set()
    rows = HASHES // BANDS
    for band in range(BANDS):
        buckets: dict[bytes, list[int]] = {}
        part = np.ascontiguousarray(signatures[:, band * rows : (band + 1) * rows])
        for number, found in enumerate(sets):
            if not found:
                continue
            bucket = buckets.setdefault(part[number].tobytes(), [])
            for other in bucket[:MOST_IN_BUCKET]:
                if (other, number) not in seen:
                    seen.add((other, number))
                    similarity = jaccard(sets[other], found)
                    if similarity >= threshold:
                        yield other, number, similarity
            bucket.append(number)


def _signatures(sets: Sequence[frozenset[int]], seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    factor = generator.integers(1, int(_PRIME), HASHES).astype(np.uint64)
    shift = generator.integers(0, int(_PRIME), HASHES).astype(np.uint64)
    found = np.zeros((len(sets), HASHES), dtype=np.uint64)
    for number, one in enumerate(sets):
        if one:
            values = np.fromiter(one, dtype=np.uint64, count=len(one))
            found[number] = ((values[:, None] * factor + shift) % _PRIME).min(axis=0)
    return found


def _hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) & 0x7FFFFFFF
