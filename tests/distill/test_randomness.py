from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
import torch

from kdbench.distill.randomness import reseed, seed_of, seeded


def draws():
    """Draw one number from each generator."""
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def fail():
    with seeded("inner"):
        draws()
        raise ValueError("wrong")


def test_a_seed_is_the_first_bytes_of_the_keys_hash():
    expected = int.from_bytes(hashlib.sha256(b"3/image/17").digest()[:4], "little")
    assert seed_of(3, "image", 17) == expected
    assert 0 <= expected < 2**32


def test_seeds_differ_between_keys():
    keys = [(s, name, i) for s in range(10) for name in ("image", "step", "method") for i in range(100)]
    assert len({seed_of(*key) for key in keys}) == len(keys)


def test_a_key_gives_the_same_draws_whatever_was_drawn_before():
    with seeded(1, "step", 5):
        first = draws()
    draws()
    with seeded(1, "step", 5):
        again = draws()
    with seeded(1, "step", 6):
        other = draws()
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_reseed_draws_as_a_block_of_its_key():
    with seeded(1, "batch", 5):
        inside = draws()
    with seeded("outer"):
        reseed(1, "batch", 5)
        assert draws() == inside


def test_the_outer_states_go_on_as_if_nothing_had_happened():
    with seeded("outer"):
        expected = [draws(), draws()]
    with seeded("outer"):
        first = draws()
        with seeded("inner"):
            draws()
        assert [first, draws()] == expected


def test_the_states_come_back_after_an_error():
    with seeded("outer"):
        expected = draws()
    with seeded("outer"):
        with pytest.raises(ValueError, match="wrong"):
            fail()
        assert draws() == expected
