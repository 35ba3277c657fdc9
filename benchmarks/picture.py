"""Draw results/leaderboards/DATASET.png: each method's difference to the plain student, seed by seed.

python benchmarks/picture.py
"""

from __future__ import annotations

from pathlib import Path

from kdbench.results.pages import boards
from kdbench.results.plots import intervals
from kdbench.results.store import Store

ROOT = Path(__file__).parent.parent / "results"


def main() -> None:
    """Draw every dataset that has results, a panel a ranking of the default schedule."""
    records, _ = Store(ROOT).records()
    for dataset, rankings in boards(records).items():
        picture = intervals([one for one in rankings if one.first["schedule"] == "default"])
        if picture is not None:
            (ROOT / "leaderboards" / f"{dataset}.png").write_bytes(picture.png())


if __name__ == "__main__":
    main()
