"""Run the cells of benchmark files, one after the other; what has a record is not run again.

    python benchmarks/cells.py benchmarks/digits.yaml benchmarks/ablations/mimic.yaml

The store is results/.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from kdbench.benchmarks import Benchmark, Cell, load
from kdbench.errors import UserError


def run(benchmark: Benchmark, cell: Cell) -> bool:
    """Whether the cell's run went well; it says itself why not."""
    command = ["run", "--method", cell.method, "--dataset", benchmark.dataset, "--pair", cell.pair]
    command += ["--seed", str(cell.seed), "--schedule", benchmark.schedule, "--json"]
    done = subprocess.run([sys.executable, "-m", "kdbench", *command], stdout=subprocess.DEVNULL)
    return done.returncode == 0


def main(files: list[str]) -> int:
    """Run the cells of the files, all of which are read first; 1 where any cell failed."""
    try:
        benchmarks = [load(Path(file)) for file in files]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    went = [run(benchmark, cell) for benchmark in benchmarks for cell in benchmark.cells()]
    return 0 if all(went) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
