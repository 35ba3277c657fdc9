"""Time of `kdbench sweep --dry-run` over 10,000 cells with 5,000 records in the store.

    python benchmarks/speed/dry_run.py

The records are made from the cells that the sweep plans. Each run is a separate process, whose start is included.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kdbench.benchmarks import load
from kdbench.results.record import Made, Metrics, Record
from kdbench.results.store import Store
from kdbench.runs.packs import Item
from kdbench.runs.plan import stored
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings
from kdbench.runs.sweep_plan import items_of

CELLS, RECORDS, RUNS = 10_000, 5_000, 5
LIMIT = 5.0
"""Time limit in seconds."""


def benchmark(folder: Path) -> Path:
    """Write a benchmark file of 10,000 cells: the plain student and 9 methods, with 1,000 seeds."""
    methods = [f"hinton[temperature={number}]" for number in range(2, 2 + CELLS // 1000 - 1)]
    lines = ["title: ten thousand cells", "dataset: digits", "pairs: [digits-faster-rcnn]", "seeds: 0..999"]
    file = folder / "benchmark.yaml"
    file.write_text("\n".join([*lines, "methods:", *(f"  - {method}" for method in methods)]) + "\n")
    return file


def record(item: Item) -> Record:
    """Return a finished record of a cell."""
    return Record(
        kind="cell",
        identity=item.identity,
        spec=stored(item.plan.cell),
        status="done",
        metrics=Metrics(last={"AP50": 0.5}),
        metric="AP50",
        cost={"seconds_per_iteration": 0.1},
        curve=[{"iteration": 1000, "AP50": 0.5}],
        device="cpu",
        host_class="made up",
        made=Made(clock="2026-01-01T00:00:00+00:00", path="out", command="none"),
    )


def main() -> int:
    """Print the times; return 1 if their median exceeds the limit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, store = benchmark(folder), Store(folder / "results")
        items = items_of([load(file)], Request(method="", dataset=""), RunSettings())
        for item in list(items.values())[:RECORDS]:
            path = store.path_of(made := record(item))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made.to_json())
        command = [sys.executable, "-m", "kdbench", "sweep", str(file), "--dry-run"]
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            done = subprocess.run(
                [*command, "--results", str(store.root)], check=True, capture_output=True, text=True
            )
            times.append(time.perf_counter() - start)
        assert re.match(f"{CELLS} cells: {RECORDS} done, {CELLS - RECORDS} to run", done.stdout), done.stdout
    shown = ", ".join(f"{seconds:.2f}" for seconds in sorted(times))
    middle = statistics.median(times)
    print(f"{CELLS} cells, {RECORDS} records: {middle:.2f} s (limit {LIMIT:.0f} s; {shown})")
    return 0 if middle <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
