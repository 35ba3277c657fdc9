"""Time of a pack of lanes compared with separate runs, and with the ideal of a shared teacher.

    python benchmarks/speed/lanes.py --lanes 6 --rounds 3

Prints pack / separate (a ratio of seconds per iteration of all students) with its spread over the rounds, and the
ideal (T + n S) / (n (T + S)), where T is the teacher's forward and S the plain student's step, timed in the same
rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from measuring import PRECISIONS, tell_gpu, utilisation

from kdbench import devices
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.plugins import registry
from kdbench.selectors import parse, resolve

METHOD = "fitnets"
"""Method of the lanes, which needs the teacher's neck and adds little cost of its own."""


class Clock:
    """Progress that records when each iteration of a training ends."""

    def __init__(self):
        self.ends = []

    def advance(self, iteration, losses):
        self.ends.append(time.perf_counter())

    def evaluated(self, iteration, metrics): ...


class Trial:
    """Trains students of a pair for a few iterations, with an untrained teacher, which takes the same time."""

    def __init__(self, pair, folder, iterations, out, device="cpu", precision="fp32"):
        from kdbench.openmmlab.students import Subject
        from kdbench.openmmlab.training.distiller import Teacher

        self.pair, self.folder, self.out = pair, folder, out
        self.dataset = registry().dataset(pair.dataset).value
        self.schedule = pair.schedule.model_copy(update={"iterations": iterations, "validations": 1})
        self.number, self.device, self.precision = 0, device, precision
        self.teacher = Teacher(
            Subject("teacher", pair.teacher, pair.teacher_schedule, self.dataset, 0, False).build()
        )

    def train(self, selector, clock, pack=None):
        from kdbench.openmmlab.students import Subject, train_alone, train_with
        from kdbench.openmmlab.training.runner import Place

        self.number += 1
        name = str(self.number)
        subject = Subject(name, self.pair.student, self.schedule, self.dataset, 0, False)
        means = {"device": self.device, "precision": self.precision, "visualizers": ()}
        place = Place(self.folder, self.out / name, pack=pack, **means)
        if selector == "none":
            train_alone(subject, place, clock)
            return
        card = registry().method(parse(selector)[0]).value
        teacher = self.teacher if pack is None else pack.shared(self.teacher)
        options = resolve(card, parse(selector)[1])
        train_with(subject, [teacher], card, options, place, clock, force=True)

    def alone(self, selector):
        """Return the seconds per iteration of one run."""
        clock = Clock()
        self.train(selector, clock)
        return (clock.ends[-1] - clock.ends[0]) / (len(clock.ends) - 1)

    def packed(self, lanes):
        """Return the seconds per iteration of all lanes."""
        from kdbench.openmmlab.training.sharing import make_pack

        pack, clocks = make_pack(), [Clock() for _ in range(lanes)]
        bodies = {
            str(n): lambda clock=clock: self.train(METHOD, clock, pack) for n, clock in enumerate(clocks)
        }
        results = pack.turns.run(bodies)
        failed = [result for result in results.values() if isinstance(result, BaseException)]
        if failed:
            raise failed[0]
        last, first = (max(clock.ends[at] for clock in clocks) for at in (-1, 0))
        return (last - first) / (self.schedule.iterations - 1)

    def teacher_forward(self):
        """Seconds of the teacher's forward on a batch."""
        import torch

        from kdbench.openmmlab.captures.families import teacher_record

        width, height = self.schedule.scale
        inputs = torch.rand(self.schedule.batch_size, 3, height, width, device=self.device)
        self.teacher.to(inputs.device)
        times = []
        for _ in range(self.schedule.iterations):
            begun = time.perf_counter()
            dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision)
            with torch.autocast(self.device, dtype=dtype, enabled=dtype is not None):
                teacher_record(self.teacher.model, inputs, frozenset({"neck"}))
            devices.synchronize(self.device)
            times.append(time.perf_counter() - begun)
        return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", default="digits-gfl")
    parser.add_argument("--lanes", type=int, default=6)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--amp", nargs="?", const="fp16", default="fp32", choices=PRECISIONS, dest="precision"
    )
    asked = parser.parse_args()
    pair = registry().pair(asked.pair).value
    dataset = registry().dataset(pair.dataset).value
    prepare_libraries("mmseg" if dataset.task == "segmentation" else "mmdet")
    from kdbench.openmmlab.process import hush, use_device

    hush()
    use_device(asked.device)
    ratios, ideals = [], []
    with tempfile.TemporaryDirectory() as out:
        folder = asked.root / dataset.folder
        trial = Trial(pair, folder, asked.iterations, Path(out), asked.device, asked.precision)
        for number in range(asked.rounds):
            separate = sum(trial.alone(METHOD) for _ in range(asked.lanes))
            packed, plain, teacher = trial.packed(asked.lanes), trial.alone("none"), trial.teacher_forward()
            ratios.append(packed / separate)
            ideals.append((teacher + asked.lanes * plain) / (asked.lanes * (teacher + plain)))
            times = f"T {teacher:.4f} s, S {plain:.4f} s"
            print(f"round {number}: pack / separate {ratios[-1]:.3f}, ideal {ideals[-1]:.3f} ({times})")
            tell_gpu(asked, asked.lanes * trial.schedule.batch_size, [packed], utilisation(asked.device))
    of_ideal = [ratio / ideal for ratio, ideal in zip(ratios, ideals, strict=True)]
    for name, values in (("pack / separate", ratios), ("ideal", ideals), ("pack / ideal", of_ideal)):
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        print(f"{name}: {statistics.mean(values):.3f} +- {spread:.3f} over {len(values)} rounds")


if __name__ == "__main__":
    main()
