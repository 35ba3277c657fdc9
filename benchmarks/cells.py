"""Run the committed cells of one or more pairs, one after the other; what has a record is not run again.

    python benchmarks/cells.py digits-faster-rcnn digits-seg-pspnet

Plain students get five seeds (the pair's noise), every method three. The store is results/.
"""

from __future__ import annotations

import subprocess
import sys

from kdbench.registry import registry
from kdbench.specs import Pair

PLAIN_SEEDS = 5
METHOD_SEEDS = 3


def methods(pair: Pair) -> list[str]:
    """Selectors that work on a pair; mimic needs proposals, which a dense detector does not have."""
    mimic = {"two-stage": ["mimic"], "dense": ["mimic[variant=gt-boxes]"], "segmentation": []}[pair.family]
    return ["hinton", "fitnets", *mimic]


def cells(pair: Pair) -> list[tuple[str, int]]:
    """Selector and seed of each cell, in an order that soon gives whole rows."""
    return [
        *((method, seed) for seed in range(METHOD_SEEDS) for method in methods(pair)),
        *(("none", seed) for seed in range(METHOD_SEEDS, PLAIN_SEEDS)),
    ]


def main(names: list[str]) -> int:
    """Run the cells of the named pairs; the number of cells that failed."""
    failed = 0
    for name in names:
        pair = registry().pair(name).value
        for method, seed in cells(pair):
            command = [
                "run",
                "--method",
                method,
                "--dataset",
                pair.dataset,
                "--pair",
                name,
                "--seed",
                str(seed),
            ]
            done = subprocess.run(
                [sys.executable, "-m", "kdbench", *command, "--json"], stdout=subprocess.DEVNULL
            )
            failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
