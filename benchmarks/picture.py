"""Draw results/leaderboards/DATASET.png: each method's difference to the plain student, seed by seed.

python benchmarks/picture.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from kdbench.results.leaderboard import leaderboard
from kdbench.results.record import Record
from kdbench.results.store import Store

ROOT = Path(__file__).parent.parent / "results"
COLOURS = {"better": "#1b7837", "worse": "#b2182b"}


def by_seed(records: list[Record], pair: str, method: str) -> list[float]:
    """Differences to the plain student of the same seed, in points."""
    cells = [
        r for r in records if r.done and r.kind == "cell" and r.pair_name == pair and r.schedule == "default"
    ]
    plain = {r.seed: r.score for r in cells if r.selector == "none"}
    own = {r.seed: r.score for r in cells if r.selector == method}
    return [100 * (own[seed] - plain[seed]) for seed in sorted(own) if seed in plain]


def draw(frame: pd.DataFrame, records: list[Record], path: Path) -> None:
    """One panel a pair."""
    frame = frame[frame["schedule"] == "default"]
    pairs = list(dict.fromkeys(frame["pair"]))
    rows = [frame[(frame["pair"] == pair) & ~frame["method"].isin(["teacher", "none"])] for pair in pairs]
    shown = [(block, pair) for block, pair in zip(rows, pairs, strict=True) if len(block)]
    if not shown:
        return
    rows, pairs = zip(*shown, strict=True)
    heights = [len(r) for r in rows]
    figure, axes = plt.subplots(
        len(pairs),
        1,
        figsize=(7.5, 0.9 * len(pairs) + 0.5 * sum(heights)),
        squeeze=False,
        height_ratios=heights,
        layout="constrained",
    )
    for axis, pair, block in zip(axes[:, 0], pairs, rows, strict=True):
        panel(axis, pair, frame[frame["pair"] == pair], block, records)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def panel(axis: plt.Axes, pair: str, whole: pd.DataFrame, block: pd.DataFrame, records: list[Record]) -> None:
    """Interval and seeds of each method of a pair."""
    for height, row in enumerate(block.iloc[::-1].itertuples()):
        colour = COLOURS.get(row.verdict, "#555555")
        axis.plot([100 * row.low, 100 * row.high], [height, height], color=colour, lw=3, alpha=0.35)
        seeds = by_seed(records, pair, row.method)
        axis.plot(seeds, [height] * len(seeds), "o", ms=4, color=colour, alpha=0.7)
        axis.plot([100 * row.difference], [height], "D", ms=7, color=colour)
    axis.axvline(0, color="black", lw=1)
    axis.set_yticks(range(len(block)), list(block["method"])[::-1])
    axis.set_ylim(-0.6, len(block) - 0.4)
    teacher, plain = (100 * whole[whole["method"] == name]["mean"].iloc[0] for name in ("teacher", "none"))
    metric = whole["metric"].iloc[0]
    axis.set_title(
        f"{pair}: plain student {plain:.1f} {metric}, teacher {teacher:.1f}", fontsize=10, loc="left"
    )
    axis.set_xlabel(
        f"{metric} points against the plain student of the same seed (bar: 95 % interval)", fontsize=8
    )
    axis.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Draw every dataset that has results."""
    records, _ = Store(ROOT).records()
    for dataset in sorted({r.dataset for r in records}):
        frame = leaderboard(records, dataset)
        if len(frame):
            draw(frame, records, ROOT / "leaderboards" / f"{dataset}.png")


if __name__ == "__main__":
    main()
