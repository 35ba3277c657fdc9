"""Runs one training of a teacher, a plain student or a distilled student with mmengine's Runner."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import is_distributed
from mmengine.runner import Runner

from kdbench import devices
from kdbench.dataset_cards import Dataset
from kdbench.errors import ArgumentError
from kdbench.openmmlab.data.loaders import evaluation_loader, training_loader
from kdbench.openmmlab.evaluation import evaluator_of
from kdbench.openmmlab.setup import LIBRARIES
from kdbench.openmmlab.training.adversary import AdversaryHook
from kdbench.openmmlab.training.distiller import Distiller
from kdbench.openmmlab.training.hooks import (
    AverageHook,
    CurveHook,
    Progress,
    SharesHook,
    StatisticsHook,
    StepHook,
    Watch,
)
from kdbench.openmmlab.training.optimization import learning_rate, optim_wrapper
from kdbench.openmmlab.training.resuming import resume_point
from kdbench.openmmlab.training.stopping import Stop, StopHook
from kdbench.specs import Precision, Schedule

if TYPE_CHECKING:
    from kdbench.openmmlab.training.sharing import Lanes

CHECKPOINTS = 10
"""Number of checkpoints that a training writes."""


@dataclass(frozen=True)
class Place:
    """Folders, device and processes of a training; not part of a result's identity.

    Attributes:
        folder: Folder of the dataset.
        work_dir: Folder of checkpoints and logs.
        device: Type of the device.
        precision: Precision of the forward passes.
        workers: Number of data loading processes; 0 loads in the training process.
        visualizers: Types of mmengine's visualisation backends.
        pack: What the lanes of a pack share; None for a training alone.
        step_limit: Seconds that an iteration may take; None for no limit.
    """

    folder: Path
    work_dir: Path
    device: str = devices.CPU
    precision: Precision = "fp32"
    workers: int = 0
    visualizers: tuple[str, ...] = ("LocalVisBackend",)
    pack: Lanes | None = None
    step_limit: float | None = None


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        curve: One dict for each evaluation: ``iteration`` and the metrics.
        seconds_per_iteration: Median over the timed iterations of this process, without data loading; None if
            there were none, as after a resume near the end.
        runner: mmengine's runner with the trained model.
    """

    curve: list[dict[str, float]]
    seconds_per_iteration: float | None
    runner: Any = field(repr=False)


def train(
    model: Distiller,
    dataset: Dataset,
    schedule: Schedule,
    place: Place,
    progress: Progress,
    *,
    seed: int,
    name: str,
) -> Trained:
    """Train, or resume an interrupted training in the same folder.

    Args:
        model: Student with its method.
        dataset: Dataset to train and evaluate on.
        schedule: The recipe.
        place: Folders, device and precision.
        progress: Receives iterations and evaluations.
        seed: Seed of the run.
        name: Unique name of the experiment.

    Raises:
        NonFiniteLoss: If a loss is not finite.
        Disturbed: If the method changed the settings of this process or a teacher's weights.
        UserError: If an image cannot be read, or the device or the number of processes does not fit.
    """
    if place.precision == "fp16" and place.device == devices.CPU:
        raise ArgumentError("precision", "this needs a GPU; a CPU can do bf16.", "fp16")
    devices.reset_peak_memory(place.device)
    watch = place.pack.watch if place.pack else Watch()
    steps, curve = StepHook(progress, watch, place.step_limit), CurveHook(progress)
    stop = StopHook(place.pack.stop if place.pack else Stop())
    hooks = [StatisticsHook(), SharesHook(), steps, curve, stop]
    if model.method.adversary() is not None:
        hooks.append(AdversaryHook())
    runner = make_runner(model, dataset, schedule, place, seed=seed, name=name, hooks=hooks)
    try:
        runner.train()
    finally:
        stop.restore()
        steps.limit.stop()
    watch.check(model.teachers)
    return Trained(curve.curve(runner), steps.seconds_per_iteration(), runner)


def make_runner(
    model: Distiller,
    dataset: Dataset,
    schedule: Schedule,
    place: Place,
    *,
    seed: int,
    name: str,
    hooks: list[Any],
) -> Runner:
    """Make mmengine's Runner for a training; it logs nothing to the console and scalars to the work directory."""
    every = -(-schedule.iterations // schedule.validations)
    custom: list[Any] = list(hooks)
    if schedule.average is not None:
        custom.append(AverageHook(momentum=schedule.average, update_buffers=True))
    training = partial(training_loader, dataset, place.folder, schedule, seed, place.workers)
    evaluation = partial(evaluation_loader, dataset, place.folder, schedule, "test", place.workers)
    resumed = resume_point(place.work_dir).checkpoint
    return Runner(
        model=model,
        work_dir=str(place.work_dir),
        train_dataloader=place.pack.training_loader(training) if place.pack else training(),
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": schedule.iterations, "val_interval": every},
        val_dataloader=place.pack.evaluation_loader(evaluation) if place.pack else evaluation(),
        val_cfg={"type": "ValLoop"},
        val_evaluator=evaluator_of(dataset),
        optim_wrapper=optim_wrapper(model.student, model.method, schedule, place.precision, place.device),
        param_scheduler=learning_rate(schedule),
        default_hooks={
            "logger": {"type": "LoggerHook", "interval": 10, "log_metric_by_epoch": False},
            "checkpoint": {
                "type": "CheckpointHook",
                "by_epoch": False,
                "interval": checkpoint_interval(schedule),
                "max_keep_ckpts": 2,
            },
        },
        custom_hooks=custom,
        default_scope=LIBRARIES[dataset.task],
        experiment_name=name,
        log_level="ERROR",
        log_processor={"type": "LogProcessor", "by_epoch": False},
        visualizer={
            "type": "Visualizer",
            "name": name,
            "vis_backends": [{"type": backend} for backend in place.visualizers],
        },
        randomness={"seed": seed, "deterministic": False},
        load_from=None if resumed is None else str(resumed.absolute()),
        resume=resumed is not None,
        launcher="pytorch" if is_distributed() else "none",
        cfg={"model_wrapper_cfg": ddp_config(place.device)} if is_distributed() else None,
    )


def checkpoint_interval(schedule: Schedule) -> int:
    """Return the number of iterations between checkpoints, a multiple of the accumulated ones."""
    steps = -(-schedule.iterations // (CHECKPOINTS * schedule.accumulate))
    return steps * schedule.accumulate


def ddp_config(device: str) -> dict[str, Any]:
    """Return the config of a distributed run's DDP; a method may leave an adapter unused for a while."""
    config: dict[str, Any] = {"type": "MMDistributedDataParallel", "find_unused_parameters": True}
    return config | {"broadcast_buffers": False} | ({"device_ids": None} if device == devices.CPU else {})
