"""Share of data loading in an iteration of a distillation: time waiting for the batch / time of the iteration.

    python benchmarks/speed/data.py --pair bccd-faster-rcnn --method fitnets --rounds 60 --workers 0

An iteration is that of mmengine's runner, as in `kdbench run`: from the end of one step to the end of the next.
Without worker processes the loading happens between the steps, and both clocks measure it; with them, only the wall
clock does.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

from measuring import Bench, Done, Times, interval, options, without_warm


def hooks(rounds: int, loading: Times, step: Times) -> list[Any]:
    """Return hooks that time the loading of each batch and the step on it."""
    from mmengine.hooks import Hook

    class First(Hook):  # type: ignore[misc]
        priority = 0

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            if runner.iter:
                loading.stop()
            step.start()

    class Last(Hook):  # type: ignore[misc]
        priority = 100

        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            step.stop()
            if runner.iter == rounds:
                raise Done
            loading.start()

    return [First(), Last()]


def main() -> int:
    """Print the share."""
    parser = options(__doc__, "fitnets")
    parser.add_argument("--workers", type=int, default=0, help="data loading processes")
    asked = parser.parse_args()
    bench, loading, step = Bench(asked), Times(asked.device), Times(asked.device)
    bench.train(hooks(asked.warm + asked.rounds, loading, step), asked.workers)
    del step.wall[0], step.cpu[0]  # the loading of the first batch was not timed
    without_warm(asked, loading, step)
    for clock in ("wall", "cpu") if asked.workers == 0 else ("wall",):
        parts = list(zip(getattr(loading, clock), getattr(step, clock), strict=True))
        middle, low, high = interval([load / (load + rest) for load, rest in parts], statistics.median)
        seconds = [1e3 * statistics.median(part) for part in zip(*parts, strict=True)]
        print(
            f"{asked.pair}, {asked.method}, {asked.workers} workers, {clock}: loading is {middle:.3f} [{low:.3f}, "
            f"{high:.3f}] of an iteration, {seconds[0]:.1f} ms beside a step of {seconds[1]:.1f} ms, "
            f"{len(parts)} rounds"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
