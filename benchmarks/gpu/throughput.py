"""Cells per hour of a sweep with several workers on one GPU, compared with one worker that runs cell after cell.

    python benchmarks/gpu/measure.py --only throughput

The cells are a method and the plain student for several seeds: two lanes per worker, which take turns and share
no teacher, so that one worker is equivalent to separate runs. The students train until they are stopped. The
figure is the number of iterations of all lanes while all workers train, divided by the iterations of a real cell;
it leaves out the start, the training of the teacher and the evaluation.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from endless_pairs import ITERATIONS, SUFFIX
from measuring import pair_of
from watch import Watch

from kdbench.runs.progress import PackProgress, read_progress

HERE = Path(__file__).parent
WARM = 5
"""Iterations of each worker before the window begins."""


def plugin(folder: Path) -> str:
    """Install the endless pairs in a folder, and return a PYTHONPATH that includes them."""
    info = folder / "kdbench_endless-0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kdbench-endless\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[kdbench]\nendless = endless_pairs\n")
    return os.pathsep.join(filter(None, [str(folder), str(HERE), os.environ.get("PYTHONPATH", "")]))


class Sweep:
    """A sweep of endless students.

    Args:
        asked: Options of the command line.
        seeds: One seed per worker.
        folder: Folder of all sweeps of this program, so that the teacher is trained once.
    """

    def __init__(self, asked: argparse.Namespace, seeds: range, folder: Path) -> None:
        self.runs = folder / "runs"
        command = [sys.executable, "-m", "kdbench", "sweep", "--methods", asked.method]
        command += ["--seeds", ",".join(map(str, seeds)), "--slots", str(len(seeds))]
        command += ["--datasets", pair_of(asked.pair).dataset, "--pairs", asked.pair + SUFFIX]
        command += ["--device", asked.device, "--root", str(asked.root)]
        command += ["--work-dir", str(self.runs), "--results", str(folder / "results")]
        environment = {**os.environ, "PYTHONPATH": plugin(folder)}
        self.process = subprocess.Popen([*command, *asked.amp], env=environment, stdout=sys.stderr)
        self.patience = asked.patience

    def workers(self) -> dict[str, PackProgress]:
        """Return the progress of the workers whose students are training."""
        found = (read_progress(file.parent) for file in self.runs.glob("packs/*/progress.json"))
        return {told.pack: told for told in found if told is not None and _trains(told)}

    def until(self, workers: int) -> bool:
        """Wait until ``workers`` workers are training; return whether they are."""
        ends = time.monotonic() + self.patience
        while time.monotonic() < ends and self.process.poll() is None:
            if len(self.workers()) >= workers:
                return True
            time.sleep(0.2)
        return False

    def stop(self) -> None:
        """Stop the sweep, without checkpoints."""
        for _ in range(3):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                time.sleep(1)
        self.process.wait()


def _trains(told: PackProgress) -> bool:
    students = told.iterations == ITERATIONS and told.iteration >= WARM
    return students and not told.ended and not told.owner.dead()


def rate(before: dict[str, PackProgress], after: dict[str, PackProgress], seconds: float) -> float:
    """Return the iterations per second of all lanes between two snapshots, for workers that are in both."""
    done = [
        (told.iteration - before[name].iteration) * len(told.cells)
        for name, told in after.items()
        if name in before
    ]
    return sum(done) / seconds


def measured(asked: argparse.Namespace, seeds: range, folder: Path) -> float | None:
    """Print a row of the table, and return the cells per hour, or None if too few workers began to train."""
    sweep = Sweep(asked, seeds, folder)
    try:
        ready = sweep.until(len(seeds))
        before, begun = sweep.workers(), time.monotonic()
        with Watch(asked.device) as watch:
            time.sleep(asked.window if ready else 0)
        after, seconds = sweep.workers(), time.monotonic() - begun
    finally:
        sweep.stop()
    if not ready or len(after) < len(seeds):
        print(f"| {len(seeds)} | failed: {len(after)} workers trained | | |", flush=True)
        return None
    iterations = rate(before, after, seconds)
    cells = 3600 * iterations / pair_of(asked.pair).schedule.iterations
    print(f"| {len(seeds)} | {iterations:.2f} | {cells:.1f} | {watch} |", flush=True)
    return cells


def main() -> int:
    """Print the table; return 1 if a row could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument(
        "--slots", type=int, nargs="+", default=[1, 4], help="workers; the first to compare with"
    )
    parser.add_argument("--window", type=float, default=12, help="seconds that are measured")
    parser.add_argument("--patience", type=float, default=60, help="seconds until all workers must train")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--amp", action="store_const", const=["--amp"], default=[])
    parser.add_argument("--root", type=Path, default=Path("data"))
    asked = parser.parse_args()
    print(f"{asked.pair}, {asked.method} and the plain student, a seed a worker\n")
    print(
        "| workers | iterations/s | cells an hour | GPU utilisation, memory |\n|---|---|---|---|", flush=True
    )
    cells: list[float | None] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, slots in enumerate(asked.slots):
            first = sum(asked.slots[:number])
            cells.append(measured(asked, range(first, first + slots), Path(folder)))
    one, *more = cells
    if one and all(more):
        print("\ntimes the first row:", *(f"{several / one:.2f}" for several in more if several))
    return int(None in cells)


if __name__ == "__main__":
    sys.exit(main())
