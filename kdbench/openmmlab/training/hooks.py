"""Hooks of a training: the iteration for the model, progress for people, the curve and the time for the record."""

from __future__ import annotations

import signal
import threading
import time
from statistics import median
from types import FrameType
from typing import Any, Protocol

import torch
from mmengine.dist import all_reduce, all_reduce_params, get_world_size
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from kdbench import devices
from kdbench.distill.randomness import reseed
from kdbench.guests import Interruption
from kdbench.openmmlab.training.intact import Watch
from kdbench.openmmlab.training.limit import StepLimit
from kdbench.openmmlab.training.training_checkpoints import check_fits

WARM_ITERATIONS = 5
AGAIN = 1.0
"""Seconds after which a second signal is a second wish to stop: torchrun passes on what a terminal sent to all."""


class Progress(Protocol):
    """Receives the progress of a training."""

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Report that ``iteration`` iterations are done; ``losses`` are the last ones that were read."""

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        """Report the metrics of the model after ``iteration`` iterations."""


class StepHook(Hook):  # type: ignore[misc]
    """Tell the model the iteration, measure the time of one that is looked at, report progress.

    Args:
        progress: Receives iterations and evaluations.
        watch: Checks that nothing was changed that other trainings depend on.
        limit: Seconds that an iteration may take; None: any.
    """

    priority = "VERY_LOW"

    def __init__(self, progress: Progress, watch: Watch, limit: float | None = None) -> None:
        self.progress, self.watch, self.limit = progress, watch, StepLimit(limit)
        self.durations: dict[int, float] = {}
        """Iteration that was looked at -> its seconds, without the loading of its batch."""
        self.started = 0.0
        self.losses: dict[str, float] = {}

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Start the clock after the batch was loaded; a preprocessor's random sizes follow from the iteration."""
        self.limit.start()
        model = bare(runner)
        model.iteration, model.shares.seconds = runner.iter, 0.0
        reseed(model.seed, "batch", runner.iter)
        device = model.data_preprocessor.device
        if model.looks.due(runner.iter, device):
            devices.synchronize(device)
        self.started = time.perf_counter()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop the clock if the losses were read, so that the device is done, and report the last that were.

        The time in which the method's share of the gradient was measured does not count.

        A lane of a pack is charged what it took from the others, so that its time is that of a run alone.
        """
        self.limit.stop()
        if outputs:
            model = bare(runner)
            devices.synchronize(model.data_preprocessor.device)
            borrowed = sum(teacher.borrowed for teacher in model.teachers)
            taken = time.perf_counter() - self.started - model.shares.seconds
            self.durations[runner.iter] = taken + borrowed
            self.losses = {name: value for name, value in outputs.items() if "loss" in name}
        self.progress.advance(runner.iter + 1, self.losses)

    def seconds_per_iteration(self) -> float | None:
        """Return the median over the iterations after a process's first, slow ones, in s.

        A run that is all warm-up has the median of all; of a resumed run's last few iterations None is known.
        """
        first = min(self.durations, default=-1)
        warm = [seconds for at, seconds in self.durations.items() if at >= first + WARM_ITERATIONS]
        if not warm and first == 0:
            warm = list(self.durations.values())
        return median(warm) if warm else None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with the weights of another model."""
        check_fits(bare(runner), checkpoint)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Raise NonFiniteLoss or Disturbed before weights are saved that are spoiled."""
        bare(runner).looks.look()
        self.watch.check(bare(runner).teachers)

    def before_val_epoch(self, runner: Any) -> None:
        """Raise NonFiniteLoss before such weights are evaluated."""
        bare(runner).looks.look()


def bare(runner: Any) -> Any:
    """Return the distiller, without a distributed run's wrapper."""
    return getattr(runner.model, "module", runner.model)


class CurveHook(Hook):  # type: ignore[misc]
    """Collects the metrics of each evaluation; they travel in the checkpoint, so a resumed run has them all.

    Args:
        progress: Receives iterations and evaluations.
    """

    priority = "VERY_LOW"
    key = "kdbench_curve"

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def before_train(self, runner: Any) -> None:
        """Begin a new curve, or make up for an evaluation that an interruption came before."""
        if runner.iter == 0:
            runner.message_hub.update_info(self.key, [])
            return
        due = runner.iter % runner.val_interval == 0 or runner.iter == runner.max_iters
        if due and runner.iter not in [point["iteration"] for point in self.curve(runner)]:
            runner.val_loop.run()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Add a point."""
        curve = [point for point in self.curve(runner) if point["iteration"] < runner.iter]
        point = {"iteration": runner.iter, **{name: float(value) for name, value in (metrics or {}).items()}}
        runner.message_hub.update_info(self.key, [*curve, point])
        self.progress.evaluated(runner.iter, metrics or {})

    def curve(self, runner: Any) -> list[dict[str, float]]:
        """Return the points so far."""
        points: list[dict[str, float]] = (
            runner.message_hub.get_info(self.key) if self.key in runner.message_hub.runtime_info else []
        )
        return points


class StatisticsHook(Hook):  # type: ignore[misc]
    """Averages the statistics of normalisation layers over the processes; other buffers stay as each has them."""

    priority = "HIGH"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Average, before weights are averaged, evaluated or saved."""
        if get_world_size() > 1:
            all_reduce_params(statistics_of(runner.model), op="mean")


def statistics_of(model: nn.Module) -> list[Tensor]:
    """Return the running means and variances of a model's normalisation layers (BatchNorm, InstanceNorm)."""
    layers = [layer for layer in model.modules() if isinstance(layer, _NormBase)]
    return [b for layer in layers for b in layer.buffers(recurse=False) if b.is_floating_point()]


class AverageHook(EMAHook):  # type: ignore[misc]
    """mmengine's moving average of the weights, which moves with optimizer steps and not with batches."""

    priority = "NORMAL"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Update the average if the optimizer made a step."""
        if runner.optim_wrapper.should_update():
            super().after_train_iter(runner, batch_idx, data_batch, outputs)


class StopNow(Interruption):
    """The second wish to stop: without a checkpoint."""


class Stop:
    """The wish to stop: Ctrl-C or SIGTERM. A training watches for it while it runs; several may at once."""

    def __init__(self) -> None:
        self.signalled: float | None = None
        self._watching = 0
        self._previous: dict[int, Any] = {}

    def watch(self) -> None:
        """Take over the signals (only a main thread may)."""
        self._watching += 1
        if self._watching == 1 and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)

    def release(self) -> None:
        """Give the signals back when the last one that watches does."""
        self._watching -= 1
        if not self._watching:
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            self._previous = {}

    def asked(self) -> bool:
        """Whether any of the processes was asked to stop: they stop after the same iteration."""
        asked = torch.tensor(float(self.signalled is not None))
        all_reduce(asked, op="max")
        return bool(asked)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signalled is not None and now - self.signalled > AGAIN:
            raise StopNow
        self.signalled = self.signalled or now


class StopHook(Hook):  # type: ignore[misc]
    """Ctrl-C or SIGTERM once: the optimizer's step ends, a checkpoint is written, it stops. Twice: it stops now.

    Args:
        stop: Where the wish is noted.
    """

    priority = "LOWEST"

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.watching = False

    def before_train(self, runner: Any) -> None:
        """Watch from now on."""
        self.stop.watch()
        self.watching = True

    def after_train(self, runner: Any) -> None:
        """Watch no more; a signal during the last evaluation stops here."""
        self.restore()
        if self.stop.asked():
            raise KeyboardInterrupt

    def restore(self) -> None:
        """Watch no more, wherever the training ended."""
        if self.watching:
            self.stop.release()
        self.watching = False

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop here if asked to, but not while a gradient gathers: it is in no checkpoint."""
        if not runner.optim_wrapper.should_update() or not self.stop.asked():
            return
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                hook._save_checkpoint(runner)
        raise KeyboardInterrupt
