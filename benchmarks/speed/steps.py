"""Operators and host waits of a training step, counted without a GPU and without noise.

    python benchmarks/speed/steps.py --pair digits-gfl --method none fitnets --where

With a small batch, a step's cost on a GPU is the number of launched operators and of host waits. A simulated device
counts both over the whole iteration of mmengine's runner except for loading the batch: moving it, forward, losses,
backward, optimizer, hooks. The fourth step is counted, in which no loss is read. The figures depend on the version
of torch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from kdbench.conformance import pretend

COUNTED = 3
"""Index of the counted step; by then everything that is made only once exists."""
PAIRS = {"digits-faster-rcnn": "two-stage", "digits-gfl": "dense", "digits-seg-pspnet": "segmentation"}


class Done(Exception):
    """The step has been counted."""


class Silent:
    """Progress that is not shown."""

    def advance(self, iteration: int, losses: dict[str, float]) -> None: ...

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None: ...


def distiller(pair: Any, selector: str, schedule: Any, folder: Path) -> Any:
    """Return a student with its method and an untrained teacher, as made by a run."""
    from kdbench.distill.randomness import seeded
    from kdbench.openmmlab.checks.preflight import check_family, probe_of, probe_shapes
    from kdbench.openmmlab.data.loaders import images_of, training_pipeline
    from kdbench.openmmlab.data.sampling import SeededImages
    from kdbench.openmmlab.students import Subject
    from kdbench.openmmlab.training.distiller import Distiller, Teacher
    from kdbench.plugins import make_method, registry
    from kdbench.selectors import parse, resolve

    name, raw = parse(selector)
    card, dataset = registry().method(name).value, registry().dataset(pair.dataset).value
    options = resolve(card, raw)
    method = make_method(card, options)
    names = check_family(method, pair.family)
    student = Subject("steps", pair.student, schedule, dataset, 0, False).build().to(pretend.NAME)
    stage = None if card.teacher_stage is None else card.teacher_stage(options)
    teacher = Teacher(Subject("teacher", pair.teacher, schedule, dataset, 1, False, stage=stage).build())
    if names:
        images = SeededImages(images_of(dataset, folder, "train", training_pipeline(dataset, schedule)), 0)
        with seeded(0, "method"):
            method.build(probe_shapes(student, teacher, probe_of(images), names, dataset))
    taught_by = teacher if names else None
    return Distiller(student, method, taught_by, seed=0, iterations=schedule.iterations, names=names)


def counter(seen: list[pretend.DeviceCost]) -> list[Any]:
    """Return hooks that count one step, from before its batch is moved until after the other hooks."""
    from mmengine.hooks import Hook

    class First(Hook):  # type: ignore[misc]
        priority = 0

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            if runner.iter == COUNTED:
                self.counting = pretend.count()
                seen.append(self.counting.__enter__())

    class Last(Hook):  # type: ignore[misc]
        priority = 100

        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            if runner.iter == COUNTED:
                first.counting.__exit__(None, None, None)
                raise Done

    first = First()
    return [first, Last()]


def step(pair_name: str, selector: str, folder: Path) -> pretend.DeviceCost:
    """Return the cost of a step of a pair and a method."""
    from kdbench.openmmlab.training.adversary import AdversaryHook
    from kdbench.openmmlab.training.hooks import StatisticsHook, StepHook, Watch
    from kdbench.openmmlab.training.runner import Place, make_runner
    from kdbench.openmmlab.training.stopping import Stop, StopHook
    from kdbench.plugins import registry

    pair = registry().pair(pair_name).value
    changes = {"iterations": 100, "validations": 1, "warmup": 0, "batch_size": 4}
    schedule = pair.schedule.model_copy(update=changes)
    model, seen = distiller(pair, selector, schedule, folder), []
    model.shares.begins.clear()  # shares of the gradient are measured in 15 iterations of a whole training
    hooks = [StatisticsHook(), StepHook(Silent(), Watch()), StopHook(Stop()), *counter(seen)]
    if model.method.adversary() is not None:
        hooks.append(AdversaryHook())
    with tempfile.TemporaryDirectory() as out:
        place = Place(folder, Path(out), device=pretend.NAME, visualizers=())
        dataset = registry().dataset(pair.dataset).value
        name = f"{pair_name}-{selector}"
        runner = make_runner(model, dataset, schedule, place, seed=0, name=name, hooks=hooks)
        with suppress(Done):
            runner.train()
    return seen[0]


def start(folder: Path) -> None:
    """Install the simulated device in this process, and generate a few scenes."""
    pretend.install()
    from kdbench.datasets.digits_files import write
    from kdbench.openmmlab.process import hush, use_device
    from kdbench.openmmlab.setup import prepare_libraries

    for library in ("mmdet", "mmseg"):
        prepare_libraries(library)
    hush()
    use_device(pretend.NAME)
    write(folder, {"train": 16, "test": 1}, 0)


def places() -> Counter[str]:
    """Return a counter of the places where the host waits, which is filled while steps are counted."""
    found: Counter[str] = Counter()
    noted = pretend.sync

    def sync(name: str) -> None:
        noted(name)
        if pretend._counts:
            frames = [f for f in traceback.extract_stack()[:-1] if "/torch/" not in f.filename]
            own = [f for f in frames if not f.filename.endswith(("pretend.py", "steps.py"))]
            found[f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].line}" if own else name] += 1

    pretend.sync = sync
    return found


def methods(asked: list[str] | None) -> list[str]:
    """Return the requested methods; default: all."""
    from kdbench.plugins import registry

    return asked or sorted(registry().methods)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", nargs="+", default=list(PAIRS), choices=list(PAIRS))
    parser.add_argument("--method", nargs="+", help="default: every method in each family that it works in")
    parser.add_argument("--where", action="store_true", help="also say where the host waits")
    asked = parser.parse_args()
    from kdbench.errors import UserError

    with tempfile.TemporaryDirectory() as folder:
        start(Path(folder))
        print("| pair | method | operators a step | host waits a step |\n| --- | --- | ---: | ---: |")
        where = places() if asked.where else Counter()
        for pair in asked.pair:
            for method in methods(asked.method):
                where.clear()
                try:
                    seen = step(pair, method, Path(folder))
                except UserError:  # not in this family
                    continue
                print(f"| {pair} | {method} | {seen.ops:,} | {seen.syncs} |", flush=True)
                for place, count in where.most_common():
                    print(f"    {count} {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
