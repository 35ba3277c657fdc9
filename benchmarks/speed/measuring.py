"""Shared by the step scripts: a pair ready to train, two clocks, and a ratio with its interval."""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench import devices

if TYPE_CHECKING:
    from kdbench.specs import Pair

RESAMPLES = 2000
PRECISIONS = ("fp32", "fp16", "bf16")


@dataclass
class Times:
    """Times of successive steps in seconds: wall-clock time, and this process's CPU time."""

    device: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def _now(self) -> tuple[float, float]:
        devices.synchronize(self.device)
        return time.perf_counter(), time.process_time()

    def start(self) -> None:
        """Begin a step."""
        self.begun = self._now()

    def stop(self) -> None:
        """End the step."""
        wall, cpu = self._now()
        self.wall.append(wall - self.begun[0])
        self.cpu.append(cpu - self.begun[1])

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time a block as a step."""
        self.start()
        yield
        self.stop()


def interval(values: list[float], statistic: Callable[[list[float]], float]) -> tuple[float, float, float]:
    """Return a statistic of the rounds, and its 95 % bootstrap interval."""
    rng = random.Random(0)
    again = sorted(statistic(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return statistic(values), again[RESAMPLES // 40], again[-RESAMPLES // 40 - 1]


def compare(name: str, ours: Times, theirs: Times, limit: float) -> bool:
    """Print the median over rounds of ours / theirs for both clocks; return whether CPU time is within the limit.

    On a GPU wall-clock time decides, since the CPU only waits.
    """
    if not ours.cpu:
        sys.exit("interrupted before a round was timed")
    ratios = {}
    for clock in ("wall", "cpu"):
        pairs = [ours / bare for ours, bare in zip(getattr(ours, clock), getattr(theirs, clock), strict=True)]
        middle, low, high = interval(pairs, statistics.median)
        seconds = [1e3 * statistics.median(getattr(times, clock)) for times in (ours, theirs)]
        ratios[clock] = middle
        print(
            f"{name}, {clock}: {middle:.3f} [{low:.3f}, {high:.3f}] = {seconds[0]:.1f} ms / {seconds[1]:.1f} ms, "
            f"{len(pairs)} rounds, wanted at most {limit}"
        )
    return ratios["wall" if ours.device == "cuda" else "cpu"] <= limit


def options(description: str | None, method: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that the scripts have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--pair", default="digits-gfl")
    parser.add_argument("--method", default=method)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--warm", type=int, default=5, help="rounds that are not counted")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--amp", nargs="?", const="fp16", default="fp32", choices=PRECISIONS, dest="precision"
    )
    parser.add_argument("--root", type=Path, default=Path("data"))
    return parser


class Done(Exception):
    """Enough iterations were timed."""


class Bench:
    """A pair with a method and an untrained teacher (which takes the same time), trained as by `kdbench run`."""

    def __init__(self, asked: argparse.Namespace) -> None:
        from kdbench.runs.launch import start
        from kdbench.runs.plan import plan
        from kdbench.runs.request import Request

        request = Request(
            asked.method,
            "",
            pair=asked.pair,
            precision=asked.precision,
            device=asked.device,
            data_root=asked.root,
        )
        self.asked = asked
        self.plan = plan(replace(request, dataset=pair_of(asked.pair).dataset))
        self.schedule = self.plan.cell.pair.schedule.model_copy(
            update={"iterations": 10_000, "validations": 1, "warmup": 0}
        )
        start(asked.device, self.plan.dataset)
        self._build()

    def _build(self) -> None:
        from kdbench.distill.randomness import seeded
        from kdbench.openmmlab.checks.preflight import check_family, probe_of, probe_shapes
        from kdbench.openmmlab.data.loaders import images_of, training_pipeline
        from kdbench.openmmlab.data.sampling import SeededImages
        from kdbench.openmmlab.models.configs import family_of
        from kdbench.openmmlab.students import Subject
        from kdbench.openmmlab.training.distiller import Teacher
        from kdbench.plugins import make_method

        pair, dataset, card = self.plan.cell.pair, self.plan.dataset, self.plan.card
        subject = Subject("speed", pair.student, self.schedule, dataset, 0, False)
        self.family = family_of(subject.config())
        self.method = make_method(card, self.plan.options)
        self.names = check_family(self.method, self.family)
        self.teacher = Teacher(Subject("t", pair.teacher, self.schedule, dataset, 0, False).build())
        self.student = subject.build().to(self.asked.device)
        images = images_of(dataset, self.plan.folder, "train", training_pipeline(dataset, self.schedule))
        shapes = probe_shapes(
            self.student, self.teacher, probe_of(SeededImages(images, 0)), self.names, dataset
        )
        with seeded(0, "method"):
            self.method.build(shapes)

    def loader(self) -> Any:
        """Return an endless loader of training batches."""
        from kdbench.openmmlab.data.loaders import training_loader

        return training_loader(self.plan.dataset, self.plan.folder, self.schedule, 0, 0)

    def train(self, hooks: list[Any], workers: int = 0) -> None:
        """Train with mmengine's runner, kdbench's hooks and these hooks around them, until Done or Ctrl-C."""
        from kdbench.openmmlab.training.adversary import AdversaryHook
        from kdbench.openmmlab.training.distiller import Distiller
        from kdbench.openmmlab.training.hooks import StatisticsHook, StepHook, Watch
        from kdbench.openmmlab.training.runner import Place, make_runner
        from kdbench.openmmlab.training.stopping import Stop, StopHook

        class Silent:
            def advance(self, iteration: int, losses: dict[str, float]) -> None: ...

            def evaluated(self, iteration: int, metrics: dict[str, float]) -> None: ...

        model = Distiller(
            self.student,
            self.method,
            self.teacher,
            seed=0,
            iterations=self.schedule.iterations,
            names=self.names,
        )
        with tempfile.TemporaryDirectory() as out:
            place = Place(
                self.plan.folder,
                Path(out),
                device=self.asked.device,
                precision=self.asked.precision,
                workers=workers,
                visualizers=(),
            )
            all_hooks = [StatisticsHook(), StepHook(Silent(), Watch()), StopHook(Stop()), *hooks]
            all_hooks += [AdversaryHook()] if self.method.adversary() is not None else []
            runner = make_runner(
                model, self.plan.dataset, self.schedule, place, seed=0, name="speed", hooks=all_hooks
            )
            gc.disable()
            try:
                runner.train()
            except (Done, KeyboardInterrupt):  # Ctrl-C ends the measurement; its times are still reported
                pass
            finally:
                gc.enable()


def tell_gpu(asked: argparse.Namespace, images: int, seconds: Sequence[float], shares: list[int]) -> None:
    """Print images per second and the GPU's utilisation in %; nothing on a CPU."""
    if asked.device == "cuda":
        busy = f"{statistics.median(shares)} %" if shares else "not known: pip install nvidia-ml-py"
        print(f"{images / statistics.median(seconds):.1f} images/s, GPU utilisation {busy}")


def utilisation(device: str) -> list[int]:
    """Return the GPU's utilisation in %; empty on a CPU or without NVIDIA's library."""
    if device != "cuda":
        return []
    import torch

    try:
        return [torch.cuda.utilization()]
    except (ImportError, RuntimeError):
        return []


def pair_of(name: str) -> Pair:
    """Return the pair of that name."""
    from kdbench.plugins import registry

    return registry().pair(name).value


def without_warm(asked: argparse.Namespace, *sides: Times) -> None:
    """Drop the first rounds, and a last one that was interrupted between the sides."""
    rounds = min(len(times.cpu) for times in sides)
    for times in sides:
        times.wall, times.cpu = times.wall[asked.warm : rounds], times.cpu[asked.warm : rounds]


def around(start: Callable[[], None], stop: Callable[[Any], None]) -> list[Any]:
    """Return hooks that call ``start`` before each iteration of mmengine, and ``stop`` with its outputs after."""
    from mmengine.hooks import Hook

    class First(Hook):  # type: ignore[misc]
        priority = 0

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            start()

    class Last(Hook):  # type: ignore[misc]
        priority = 100

        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            stop(outputs)

    return [First(), Last()]
