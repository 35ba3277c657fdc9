"""What a user asks for, the pair that it makes, and the command that runs it."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationError
from pydantic.dataclasses import dataclass

from kdbench.benchmarks import load
from kdbench.changes import RECIPES, change
from kdbench.dataset_cards import Dataset
from kdbench.errors import ArgumentError, UserError, first_problem
from kdbench.plugins import registry, suggestion
from kdbench.runs.settings import RunSettings
from kdbench.specs import Model, Pair, Precision, Schedule, Seed, is_feature_network, only_warms_up

log = logging.getLogger(__name__)

SMOKE: dict[str, Any] = {"iterations": 4, "batch_size": 4, "warmup": 1, "validations": 1}


@dataclass(frozen=True)
class Request:
    """What a user asks for; see :func:`kdbench.run`."""

    method: str
    dataset: str
    pair: str | None = None
    seed: Seed = 0
    schedule: Literal["default", "smoke"] = "default"
    teacher: str | None = None
    student: str | None = None
    teacher_checkpoints: tuple[Annotated[str, BeforeValidator(str)], ...] = ()
    """As :func:`kdbench.openmmlab.weights.zoo.checkpoint_file` takes them."""
    download: bool = False
    """Fetch those that are not on this machine."""
    teacher_classes: tuple[tuple[str, str], ...] = ()
    """Class of the dataset and class of the teacher's checkpoint that stands for it; empty: the same classes."""
    settings: tuple[str, ...] = ()
    precision: Precision = "fp32"
    device: str = "cpu"
    processes: int = 1
    from_scratch: bool = False
    data_root: Path | None = None
    benchmark: Path | None = None
    """Benchmark file that defines the dataset or the pair."""


def with_benchmark(request: Request) -> Request:
    """Return a request with what its benchmark file says, once its definitions are known in this process.

    That is the dataset, the file's first pair and the checkpoint of the teacher, where the request has none.

    Raises:
        UserError: If the file cannot be used, or is for another dataset.
    """
    if request.benchmark is None:
        if not request.dataset:
            raise ArgumentError("dataset", "name one, or a benchmark file.")
        return request
    found = load(request.benchmark)
    if request.dataset not in ("", found.dataset):
        raise ArgumentError("benchmark", f"it is for dataset '{found.dataset}'.", request.benchmark)
    pair = request.pair or found.pairs[0]
    request = replace(request, dataset=found.dataset, pair=pair)
    teacher = found.inline.teacher(pair) if found.inline else None
    if teacher is None or teacher.checkpoint is None:
        return request
    given, classes = request.teacher_checkpoints or (teacher.checkpoint,), (teacher.classes or {}).items()
    return replace(request, teacher_checkpoints=given, teacher_classes=tuple(classes))


def pair_of(request: Request, dataset: Dataset) -> Pair:
    """Return the pair that was named, or the dataset's first."""
    pairs = registry().pairs_of(dataset.name)
    if request.pair is None:
        if not pairs:
            raise UserError(f"dataset '{dataset.name}' has no pair: a plugin must give one.")
        return pairs[0]
    pair = registry().pair(request.pair).value
    if pair.dataset != dataset.name:
        names = ", ".join(p.name for p in pairs)
        raise UserError(
            f"pair '{pair.name}' is for dataset '{pair.dataset}', not '{dataset.name}': choose from {names}."
        )
    return pair


def overridden(pair: Pair, request: Request) -> Pair:
    """Return the pair with a user's own models, settings and the smoke schedule."""
    values = pair.model_dump(mode="json")
    for role, reference in (("teacher", request.teacher), ("student", request.student)):
        if reference is not None:
            values[role] = own_model(reference).model_dump(mode="json")
    if request.from_scratch:
        values["pretrained"] = False
    if request.schedule == "smoke":
        for section in RECIPES:
            smallest = min(values[section]["batch_size"], SMOKE["batch_size"])
            values[section] |= SMOKE | {"batch_size": smallest}
    for setting in request.settings:
        change(setting).apply(values)
    try:
        made = Pair.model_validate(values)
    except ValidationError as error:
        where, why, _ = first_problem(error)
        raise ArgumentError("settings", f"{why}.", where) from error
    for section in RECIPES:
        recipe: Schedule = getattr(made, section)
        if only_warms_up(recipe):
            told = "all %d iterations of %s are warm-up, so its learning rate never falls: set %s.warmup too"
            log.warning(told, recipe.iterations, section, section)
    return made


def own_model(reference: str) -> Model:
    """Return the model that a user names: a plugin's, or one by its config."""
    models = registry().models
    if reference in models:
        card = models[reference].value
        if card.features:
            raise UserError(f"'{reference}' is a source of feature teachers: write {reference}:NAME.")
        return Model(config=card.config)
    if "::" not in reference and not is_feature_network(reference):
        if not Path(reference).is_file():
            raise UserError(
                f"'{reference}' is neither a model's name (`kdbench list models`) nor a config's file."
                f"{suggestion(reference, models)}"
            )
        log.warning("config '%s' is Python code, which runs now with your rights", reference)
    return Model(config=reference)


def command_of(request: Request, settings: RunSettings) -> str:
    """Return the command that runs a cell by hand, for a shell."""
    words, usual = ["kdbench", "run", "--method", request.method], RunSettings()
    flags = {
        "--from-scratch": request.from_scratch,
        "--download": settings.download,
        "--force": settings.force,
    }
    options: dict[str, Sequence[object]] = {
        "--benchmark": [request.benchmark],
        "--dataset": [None if request.benchmark else request.dataset],
        "--pair": [request.pair],
        "--seed": [request.seed],
        "--schedule": [None if request.schedule == "default" else request.schedule],
        "--teacher": [request.teacher],
        "--student": [request.student],
        "--teacher-checkpoint": request.teacher_checkpoints,
        "--set": request.settings,
        "--amp": [None if request.precision == "fp32" else request.precision],
        "--device": [request.device],
        "--gpus": [None if request.processes == 1 else request.processes],
        "--workers": [settings.workers],
        "--step-limit": [settings.step_limit],
        "--visualizer": settings.visualizers,
        "--root": [request.data_root],
        "--work-dir": [None if settings.work_dir == usual.work_dir else settings.work_dir],
        "--results": [None if settings.results == usual.results else settings.results],
    }
    for name, values in options.items():
        for value in values:
            words += [] if value is None else [name, str(value)]
    return shlex.join([*words, *(flag for flag, given in flags.items() if given)])
