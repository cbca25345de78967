"""Seeds of independent streams of random numbers, derived from one number."""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, number: int, purpose: str) -> int:
    """The seed of one stream of round `number`, below 2**53 so that JSON keeps it exactly."""
    digest = hashlib.sha256(f"{purpose}/{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 11


def member_seed(seed: int, number: int, purpose: str, member: int) -> int:
    """The seed of one stream of one member of an ensemble; the first member has the stream of a model that is alone."""
    return stream_seed(seed, number, f"{purpose}/{member}" if member else purpose)


def round_seed(seed: int, number: int) -> int:
    """The seed that the weights of round `number` are drawn from."""
    return stream_seed(seed, number, "weights")
