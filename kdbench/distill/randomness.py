"""Random states that depend only on their purpose, so that the order of calls does not matter.

Every consumer of randomness (initialisation, an image's augmentation, a student's step, a method's
step) runs in a state seeded from the run's seed and its own key. An interrupted run therefore needs no
saved state, and a method that draws numbers does not affect the student.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from kdbench import devices

if TYPE_CHECKING:
    from kdbench.devices import Device


def seed_of(*key: int | str) -> int:
    """Return a 32-bit seed from a key: the same on every machine and in every process."""
    text = "/".join(map(str, key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def reseed(*key: int | str) -> None:
    """Seed the generators of Python, numpy and torch from ``key``, permanently."""
    seed = seed_of(*key)
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    accelerator = devices.in_use()
    if accelerator is not None:
        accelerator.manual_seed(seed)


def generator(device: Device, *key: int | str) -> torch.Generator:
    """Return a generator seeded from ``key``, which draws the same numbers as torch after :func:`reseed`."""
    return devices.generator(device).manual_seed(seed_of(*key))


@contextmanager
def seeded(*key: int | str) -> Iterator[None]:
    """Run a block with the generators of Python, numpy and torch seeded from ``key``, then restore them.

    The generator of an accelerator in use is also seeded.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    accelerator = devices.in_use()
    state = None if accelerator is None else accelerator.get_rng_state()
    reseed(*key)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if accelerator is not None:
            accelerator.set_rng_state(state)
