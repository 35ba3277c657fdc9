"""Step time of each method relative to a plain student's and to the bare bound, all in one run.

    python benchmarks/speed/methods.py --pair digits-gfl --rounds 40

All train in one process and take turns on the same batches, iteration by iteration; the order rotates from round to
round. A step is the whole iteration of the runner except for loading the batch, including an adversary's own step.
The bound is that of step.py, a hand-written loop: the forward of the part of the teacher that the method needs, and
a plain student's step. Methods that use the student's RoIs have no such bound. Times are CPU times on a CPU and
wall-clock times elsewhere; a ratio is the median over the rounds, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

from measuring import Bench, Done, Times, around, interval, options
from step import Bare, needs_head

PLAIN = "none"


class Lane:
    """One training that waits for its turn before each step.

    Args:
        turns: Turns that schedule the lanes.
        place: Index among the lanes.
        lanes: Number of lanes.
        asked: Arguments of the command line.
    """

    def __init__(self, turns: Any, place: int, lanes: int, asked: argparse.Namespace) -> None:
        self.turns, self.place, self.lanes = turns, place, lanes
        self.steps, self.times = asked.warm + asked.rounds, Times(asked.device)

    def start(self) -> None:
        """Wait, then start the clocks."""
        done = len(self.times.wall)
        if done == self.steps:
            raise Done
        self.turns.wait(done, (self.place + done) % self.lanes)
        self.times.start()

    def hooks(self) -> list[Any]:
        """Return the hooks around mmengine's whole iteration."""
        return around(self.start, lambda _outputs: self.times.stop())

    def by_hand(self, bench: Bench) -> None:
        """Train the bare bound."""
        bare = Bare(bench)
        try:
            for batch in bench.loader():
                self.start()
                bare.step(batch)
                self.times.stop()
        except Done:
            pass


def bodies(benches: dict[str, Bench], asked: argparse.Namespace, turns: Any) -> tuple[dict[str, Lane], Any]:
    """Return the lanes by name, and their functions: the methods, and one bound for each part of the teacher."""
    bounds = {bound_of(bench): bench for name, bench in benches.items() if name != PLAIN}
    names = [*benches, *(name for name in bounds if name)]
    lanes = {name: Lane(turns, place, len(names), asked) for place, name in enumerate(names)}
    runs: dict[str, Callable[[], None]] = {
        name: lambda bench=bench, lane=lanes[name]: bench.train(lane.hooks())
        for name, bench in benches.items()
    }
    for name, bench in bounds.items():
        if name:
            other = Bench(argparse.Namespace(**{**vars(asked), "method": bench.asked.method}))
            runs[name] = lambda bench=other, lane=lanes[name]: lane.by_hand(bench)
    return lanes, runs


def bound_of(bench: Bench) -> str:
    """Return the name of a method's bound; empty if it has none."""
    head = needs_head(bench.family, bench.names)
    return "" if head is None else "bound with the teacher's head" if head else "bound"


def benches_of(asked: argparse.Namespace) -> dict[str, Bench]:
    """Return selector -> bench of the plain student and of each method that works on the pair."""
    from kdbench.errors import UserError
    from kdbench.plugins import registry

    found = {}
    offers = registry().methods
    distil = sorted(name for name in offers.keys() - {PLAIN} if offers[name].value.kind == "distillation")
    for method in [PLAIN, *(asked.methods or distil)]:
        try:
            found[method] = Bench(argparse.Namespace(**{**vars(asked), "method": method}))
        except UserError as error:
            print(f"{method}: {error}", file=sys.stderr)
    return found


def ratio(ours: Times, theirs: Times | None) -> str:
    """Return the median of the rounds' ratios with its interval, or a dash if there is nothing to compare with."""
    if theirs is None:
        return "-"
    clock = "cpu" if ours.device == "cpu" else "wall"
    pairs = zip(getattr(ours, clock), getattr(theirs, clock), strict=True)
    middle, low, high = interval([one / other for one, other in pairs], statistics.median)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def main() -> int:
    """Print the table."""
    from kdbench.distill.turns import Turns

    parser = options(__doc__, PLAIN)
    parser.add_argument("--methods", nargs="+", help="default: every method that works on the pair")
    asked = parser.parse_args()
    benches, turns = benches_of(asked), Turns[None]()
    lanes, runs = bodies(benches, asked, turns)
    for name, ended in turns.run(runs).items():
        if isinstance(ended, BaseException):
            raise ended
        for clock in ("wall", "cpu"):
            setattr(lanes[name].times, clock, getattr(lanes[name].times, clock)[asked.warm :])
    print("| method | step, ms | / plain student | / bound |\n| --- | ---: | ---: | ---: |")
    for name, bench in benches.items():
        times, bound = lanes[name].times, lanes.get(bound_of(bench)) if name != PLAIN else None
        step = 1e3 * statistics.median(times.cpu if asked.device == "cpu" else times.wall)
        of_plain, of_bound = ratio(times, lanes[PLAIN].times), ratio(times, bound and bound.times)
        print(f"| {name} | {step:.1f} | {of_plain} | {of_bound} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
