"""Methods for which the tests run few trainings, to save time.

tests/papers/test_second_methods.py tests each of their variants on fake steps, and `kdbench test-plugin` checks the
whole contract.
"""

from __future__ import annotations

LIGHTLY = frozenset(
    {
        "at",
        "bckd",
        "cirkd",
        "crosskd",
        "defeat",
        "dist",
        "dkd",
        "fbkd",
        "fgd",
        "gid",
        "ifvd",
        "ld",
        "mgd",
        "reviewkd",
    }
)
