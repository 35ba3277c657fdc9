"""The methods that trainings of the suite touch lightly, to be quick.

tests/papers/test_second_methods.py holds each of their variants to the same on fake steps, and
`kdbench test-plugin` holds them to the whole contract.
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
