"""Seeds of independent streams of random numbers, derived from one number."""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, round_index: int, purpose: str) -> int:
    """The seed of one stream of round `round_index`, below 2**53 so that JSON keeps it exactly."""
    digest = hashlib.sha256(f"{purpose}/{seed}/{round_index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 11


def member_seed(seed: int, round_index: int, purpose: str, member: int) -> int:
    """The seed of one stream of one member of an ensemble; the first member has the stream of a single model."""
    return stream_seed(seed, round_index, f"{purpose}/{member}" if member else purpose)


def round_seed(seed: int, round_index: int) -> int:
    """The seed that the weights of round `round_index` are drawn from."""
    return stream_seed(seed, round_index, "weights")
