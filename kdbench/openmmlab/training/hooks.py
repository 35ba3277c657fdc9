"""Hooks of a training: they tell the model the iteration, report progress and collect what the record needs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from statistics import median
from typing import Any, Protocol

from mmengine.dist import all_reduce_params, get_world_size
from mmengine.hooks import EMAHook, Hook
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from kdbench import devices
from kdbench.distill.randomness import reseed
from kdbench.distill.settings import put_back, values
from kdbench.errors import Disturbed
from kdbench.openmmlab.training.distiller import Teacher
from kdbench.openmmlab.training.resuming import check_fits
from kdbench.openmmlab.training.stopping import StepLimit

WARM_ITERATIONS = 5


class Progress(Protocol):
    """Receives the progress of a training."""

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Report that ``iteration`` iterations are done; ``losses`` are the last ones that were read."""

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        """Report the metrics of the model after ``iteration`` iterations."""


class Watch:
    """Checks that a method changes nothing that other trainings share: the process's settings, the teachers."""

    def __init__(self) -> None:
        self._settings = values()

    def check(self, teachers: Iterable[Teacher]) -> None:
        """Compare the settings, which are restored, and the teachers' weights with those at the start.

        Raises:
            Disturbed: If they were changed.
        """
        changed = put_back(self._settings)
        changed += ["the teacher's weights"] if not all(teacher.intact() for teacher in teachers) else []
        if changed:
            raise Disturbed(f"a method changed {' and '.join(changed)} during the training")


class StepHook(Hook):  # type: ignore[misc]
    """Tells the model the iteration, times the iterations whose losses are read, reports progress.

    Args:
        progress: Receives iterations and evaluations.
        watch: Checks that nothing shared was changed.
        limit: Seconds that an iteration may take; None for no limit.
    """

    priority = "VERY_LOW"

    def __init__(self, progress: Progress, watch: Watch, limit: float | None = None) -> None:
        self.progress, self.watch, self.limit = progress, watch, StepLimit(limit)
        self.durations: dict[int, float] = {}
        """Iteration -> its duration without the loading of its batch, in s."""
        self.started = 0.0
        self.losses: dict[str, float] = {}

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Start the clock once the batch is loaded, and seed a preprocessor's random sizes by the iteration."""
        self.limit.start()
        model = distiller_of(runner)
        model.iteration, model.shares.seconds = runner.iter, 0.0
        reseed(model.seed, "batch", runner.iter)
        device = model.data_preprocessor.device
        if model.loss_reader.due(runner.iter, device):
            devices.synchronize(device)
        self.started = time.perf_counter()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop the clock if the losses were read, so that the device is done, and report the last ones.

        Measuring the method's share of the gradient does not count. What a lane of a pack took over from
        another lane does, so that its time is that of a run alone.
        """
        self.limit.stop()
        if outputs:
            model = distiller_of(runner)
            devices.synchronize(model.data_preprocessor.device)
            borrowed = sum(teacher.borrowed for teacher in model.teachers)
            taken = time.perf_counter() - self.started - model.shares.seconds
            self.durations[runner.iter] = taken + borrowed
            self.losses = {name: value for name, value in outputs.items() if "loss" in name}
        self.progress.advance(runner.iter + 1, self.losses)

    def seconds_per_iteration(self) -> float | None:
        """Return the median over the iterations after a process's first, slow ones, in s.

        A run no longer than these has the median of all; a run that is resumed for a few iterations has None.
        """
        first = min(self.durations, default=-1)
        warm = [seconds for at, seconds in self.durations.items() if at >= first + WARM_ITERATIONS]
        if not warm and first == 0:
            warm = list(self.durations.values())
        return median(warm) if warm else None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume from the weights of another model."""
        check_fits(distiller_of(runner), checkpoint)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Raise NonFiniteLoss or Disturbed before spoiled weights are saved."""
        distiller_of(runner).loss_reader.read()
        self.watch.check(distiller_of(runner).teachers)

    def before_val_epoch(self, runner: Any) -> None:
        """Raise NonFiniteLoss before spoiled weights are evaluated."""
        distiller_of(runner).loss_reader.read()


def distiller_of(runner: Any) -> Any:
    """Return the runner's :class:`Distiller`, without a distributed run's wrapper."""
    return getattr(runner.model, "module", runner.model)


class CurveHook(Hook):  # type: ignore[misc]
    """Collects the metrics of each evaluation in the checkpoint, so that a resumed run has them all.

    Args:
        progress: Receives iterations and evaluations.
    """

    priority = "VERY_LOW"
    key = "kdbench_curve"

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def before_train(self, runner: Any) -> None:
        """Begin a new curve, or do the evaluation that an interruption prevented."""
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


class SharesHook(Hook):  # type: ignore[misc]
    """Keeps the shares in the checkpoint, so that a resumed run has them all."""

    key = "kdbench_shares"

    def before_train(self, runner: Any) -> None:
        """Restore the shares of an interrupted training."""
        hub, shares = runner.message_hub, distiller_of(runner).shares
        if runner.iter and self.key in hub.runtime_info:
            shares.seen = hub.get_info(self.key)
        hub.update_info(self.key, shares.seen)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Pass on what was measured."""
        shares = distiller_of(runner).shares
        if shares.due(runner.iter):
            runner.message_hub.update_info(self.key, shares.seen)


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
    """mmengine's moving average of the weights, updated at each step of the optimizer and not at each batch."""

    priority = "NORMAL"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Update the average if the optimizer made a step."""
        if runner.optim_wrapper.should_update():
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
