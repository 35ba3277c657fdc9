"""Draw RESULTS/leaderboards/DATASET.png: each method's difference from the plain student, for each seed.

python benchmarks/picture.py [RESULTS]
"""

from __future__ import annotations

import sys
from pathlib import Path

from kdbench.results.pages import boards
from kdbench.results.plots import intervals
from kdbench.results.store import Store

ROOT = Path(__file__).parent.parent / "results"


def draw(results: Path) -> list[Path]:
    """Draw each dataset with results, one panel per ranking of the default schedule; return the pictures."""
    records, _ = Store(results).records()
    drawn = []
    for dataset, rankings in boards(records).items():
        picture = intervals([one for one in rankings if one.first["schedule"] == "default"])
        if picture is not None:
            drawn.append(results / "leaderboards" / f"{dataset}.png")
            drawn[-1].parent.mkdir(exist_ok=True)
            drawn[-1].write_bytes(picture.png())
    return drawn


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
