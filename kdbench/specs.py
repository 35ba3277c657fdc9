"""Specs: validated, immutable, hashed descriptions of what is run. The hash is the identity of a result.

A result's identity covers everything that its score depends on, and nothing else:

- the method: its name, its revision (``MethodCard.revision``) and all its options;
- the data: the dataset's card (task, classes, splits, file endings, metric, ignored mask value) and the content of
  its images and annotations (:mod:`kdbench.datasets.fingerprint`);
- the student's and the teacher's model: the config's ``model`` with everything that it inherits, the edits, the
  source of modules that it imports, and initial weights that are a file (:mod:`kdbench.openmmlab.models.resolved`);
- both recipes, the seed, and whether backbones start from pretrained weights;
- the teacher: all of the above for it, with the hash of a given checkpoint, and the stage that a method adds;
- the precision, the class of device (``cpu``, ``cuda``) and the number of processes that share a batch (each
  normalises its own part of it).

It leaves out labels and values that follow from the rest (titles, the short form of the options, a pair's family),
and anything that changes a score no more than another seed does: the model of the GPU, the number of threads, the
versions of torch, OpenMMLab and kdbench. A record stores these in addition to its identity. Weights with a URL such
as ``torchvision://resnet50`` count by the URL.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from kdbench.text import line, unfit


def _fit(text: str) -> str:
    if fault := unfit(text):
        raise ValueError(f"'{line(text, 40)}': {fault}")
    return text


Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
"""A seed that all generators of random numbers take."""
Count = Annotated[int, Field(gt=0, le=10**9, strict=True)]
"""How often, or how many."""
Side = Annotated[int, Field(gt=0, lt=2**15, strict=True)]
"""Width or height of an image, in pixels: OpenCV handles no larger one."""
Label = Annotated[str, AfterValidator(_fit)]
"""A text that is shown: printable, and not too long."""
Task = Literal["detection", "segmentation"]
TASKS: tuple[Task, ...] = ("detection", "segmentation")
Family = Literal["two-stage", "dense", "query", "segmentation"]
Precision = Literal["fp32", "fp16", "bf16"]
"""Precision of a training: single precision, or float16 or bfloat16 for the operations that autocast selects."""
LABELS = frozenset({"selector"})
"""Keys of a spec that are only names or follow from other keys, and so are not part of its identity."""
PAIR_LABELS = frozenset({"title", "family", "cpu"})
"""Such keys of a spec's ``pair``."""
PLAIN = "none"
"""Name of the method that adds nothing. Its runs are the plain students, the baseline of all comparisons."""


def task_of(family: str) -> Task:
    """Return the task of a family's models."""
    return "segmentation" if family == "segmentation" else "detection"


def families_of(*tasks: Task) -> tuple[Family, ...]:
    """Return every family whose models have one of these tasks."""
    return tuple(family for family in get_args(Family) if task_of(family) in tasks)


class Spec(BaseModel):
    """Base class of all specs: immutable, without unknown keys, hashable to an identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    def identity(self) -> str:
        """SHA-256 (hex) of the spec's canonical JSON, without labels."""
        return digest(unlabelled(self.model_dump(mode="json")))


def unlabelled(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a spec without :data:`LABELS` and the ``PAIR_LABELS`` of its pair."""
    kept = {key: value for key, value in spec.items() if key not in LABELS}
    if isinstance(pair := kept.get("pair"), Mapping):
        kept["pair"] = {key: value for key, value in pair.items() if key not in PAIR_LABELS}
    return kept


canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
"""Return the canonical JSON text of a value, for hashing. Raises ValueError for a number that is not finite."""


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a JSON value, independent of key order and white space."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def file_digest(path: Path, kind: str = "sha256") -> str:
    """Return the SHA-256 (hex) of a file's content, or another of hashlib's hashes. Raises OSError."""
    whole = hashlib.new(kind)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()


def is_feature_network(reference: str) -> bool:
    """Whether a model is named ``SOURCE:NAME``: a feature teacher, which returns feature maps only."""
    return ":" in reference and "::" not in reference


class Model(Spec):
    """A model as an OpenMMLab config and edits to it."""

    config: str
    """``mmdet::path`` or ``mmseg::path`` inside that package's configs, or a file. For a feature teacher,
    ``SOURCE:NAME``, such as ``timm:convnext_tiny``."""
    edits: dict[str, Any] = Field(default_factory=dict)
    """Dotted key -> value, applied to the config's ``model``."""
    sha256: str | None = None
    """Hash of the resolved config, see :mod:`kdbench.openmmlab.models.resolved`; None before planning."""
    width: int | None = Field(default=None, gt=0)
    """Channels after a ResNet's stem; all other channels are scaled with them. None: as in the config (64)."""
    roi_stage: int = Field(default=1, gt=0)
    """Stage whose RoI head methods see in a cascade of several (Cascade R-CNN)."""

    @property
    def gives_features(self) -> bool:
        """Whether it is a feature teacher: a network from outside OpenMMLab without predictions."""
        return is_feature_network(self.config)

    @model_serializer(mode="wrap")
    def _recorded(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields that were added later, at their defaults, so that older results keep their identity."""
        values: dict[str, Any] = serialise(self)
        if self.width is None:
            values.pop("width", None)
        if self.roi_stage == 1:
            values.pop("roi_stage", None)
        return values


def narrow(config: str, width: int = 16, edits: Mapping[str, Any] | None = None) -> Model:
    """Return a model with fewer channels, which trains from scratch in minutes on a CPU.

    All channels are scaled by ``width / 64``, no stage is frozen, and no initial weights are loaded.

    Args:
        config: ``mmdet::path`` or ``mmseg::path`` of a model with a ResNet, or a file.
        width: Channels after the ResNet's stem; 64 is full width.
        edits: Dotted key -> value, applied afterwards.
    """
    return Model(config=config, width=width, edits=dict(edits or {}))


class Schedule(Spec):
    """A training recipe, the same for every method of a pair."""

    iterations: Count
    """Number of batches; each is an optimizer step, unless ``accumulate`` is above 1."""
    batch_size: Count
    """Images per iteration, over all devices."""
    accumulate: Count = 1
    """Iterations per optimizer step, which uses their mean gradient."""
    optimizer: Literal["SGD", "AdamW"] = "SGD"
    """SGD has a momentum of 0.9."""
    lr: float = Field(gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Weight decay of the optimizer; 0.05 is usual for AdamW."""
    warmup: int = Field(default=0, ge=0, le=10**9, strict=True)
    """Iterations of linear warm-up."""
    decay: Literal["cosine", "step", "poly"] = "cosine"
    """cosine to 0; step: x0.1 at 2/3 and 8/9 of the iterations; poly: power 0.9."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Maximum norm of the gradient; None: no clipping."""
    scale: tuple[Side, Side]
    """Width and height, in pixels, that images are resized to."""
    keep_ratio: bool = False
    """Keep the aspect ratio when resizing (``scale`` is then an upper bound)."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of a horizontal flip."""
    resize_range: tuple[PositiveFloat, PositiveFloat] | None = None
    """Random training scale relative to ``scale`` (segmentation)."""
    crop: tuple[Side, Side] | None = None
    """Random training crop, height and width (segmentation)."""
    validations: Count = 1
    """Maximum number of evaluations, a whole number of iterations apart; the last one is at the end."""
    average: float | None = Field(default=None, gt=0, lt=1)
    """Share, in (0, 0.5], of the newest weights in the update of an exponential moving average at each optimizer
    step (1 - the decay of other libraries); the average is evaluated and exported."""

    @field_validator("lr", "weight_decay", "clip_norm", "flip", "average", mode="before")
    @classmethod
    def _is_a_number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("give a number, not yes or no")
        return value

    @field_validator("average")
    @classmethod
    def _not_a_decay(cls, value: float | None) -> float | None:
        if value is not None and value > 0.5:
            raise ValueError(
                f"{value:g} would keep only {1 - value:.6g} of the average at each step; "
                f"for an average with a decay of {value:g} write {1 - value:.6g}"
            )
        return value

    @field_validator("resize_range")
    @classmethod
    def _runs_upwards(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError(f"{value[0]:g} is above {value[1]:g}: give the smallest scale first")
        return value

    @model_serializer(mode="wrap")
    def _recorded(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields that were added later, at their defaults, so that older results keep their identity."""
        values: dict[str, Any] = serialise(self)
        if self.accumulate == 1:
            values.pop("accumulate", None)
        return values

    def times(self, factor: float) -> Schedule:
        """Return the recipe with ``factor`` times the iterations; warm-up and decay are stretched accordingly.

        The peak learning rate and the number of evaluations do not change.
        """
        stretched = {name: round(factor * getattr(self, name)) for name in ("iterations", "warmup")}
        return self if factor == 1 else self.model_copy(update=stretched)


def only_warms_up(recipe: Schedule) -> bool:
    """Whether the learning rate never falls, since the warm-up is as long as the training."""
    return recipe.warmup >= recipe.iterations


class Pair(Spec):
    """A teacher, a student, and their training recipes on a dataset."""

    name: str
    """Name on the command line: lower case, digits and dashes."""
    title: str
    """One line for humans. Not part of the identity."""
    dataset: str
    """Name of the dataset."""
    task: Task
    """Task of the dataset."""
    family: Family | None = None
    """Family shown in lists; a run determines it from the student's config. Not part of the identity."""
    teacher: Model
    """The teacher's model."""
    student: Model
    """The model of every student."""
    schedule: Schedule
    """Recipe of every student."""
    teacher_schedule: Schedule
    """Recipe of the teacher, which also sets the image size at which it is evaluated."""
    pretrained: bool = False
    """Whether backbones start from the weights that their configs name (ImageNet)."""
    cpu: bool = False
    """Whether it is small enough for a laptop's CPU. Not part of the identity."""
    inherit: bool = False
    """Whether every student, including the plain one, starts from the teacher's weights of everything but the
    backbone, where names and shapes match."""
    inherits: str | None = None
    """Identity of the teacher that students inherit from; None before planning."""

    @model_serializer(mode="wrap")
    def _recorded(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields that were added later, at their defaults, so that older results keep their identity."""
        values: dict[str, Any] = serialise(self)
        if not self.inherit:
            values.pop("inherit", None)
            values.pop("inherits", None)
        return values


class TeacherSpec(Spec):
    """A teacher: everything that its weights and its score depend on."""

    dataset: str
    data: str
    """Fingerprint of the dataset's card and content."""
    model: Model
    recipe: Schedule
    """Training recipe, which also sets the image size at which it is evaluated."""
    schedule: Literal["default", "smoke", "custom"]
    pretrained: bool
    seed: Seed
    precision: Precision
    device: str
    """Class of device: ``cpu``, ``cuda``."""
    processes: Count
    """Processes that share a batch."""
    checkpoint: str | None = None
    """SHA-256 of a given checkpoint (fine-tuned with ``recipe`` if it has other classes); None: it is trained."""
    classes: dict[str, str] | None = None
    """Class of the dataset -> class of the checkpoint that stands for it; None: the same classes."""

    @model_serializer(mode="wrap")
    def _recorded(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields that were added later, at their defaults, so that older results keep their identity."""
        return {key: value for key, value in serialise(self).items() if (key, value) != ("classes", None)}


class TeacherStage(Spec):
    """A further fine-tuning of the teacher that a method requests, with a transform on its features."""

    name: str = Field(min_length=1)
    """Name of the resulting teacher, such as ``quantized`` for "quantized teacher"."""
    transform: str = Field(pattern=r"^[\w.]+:\w+$")
    """``package.module:Class`` of a parameter-free ``nn.Module`` that is applied to each map of the ``neck``."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class."""
    share: float = Field(gt=0, le=1)
    """Number of iterations, relative to the teacher's own recipe."""
    lr_factor: float = Field(gt=0)
    """Peak learning rate, relative to the teacher's own recipe."""

    @property
    def title(self) -> str:
        """Title of the teacher after the stage."""
        return f"{self.name} teacher"

    def recipe(self, own: Schedule) -> Schedule:
        """Return the recipe of the fine-tuning, from the teacher's own: shorter, and evaluated only at its end."""
        return own.model_copy(
            update={
                "iterations": max(1, round(self.share * own.iterations)),
                "warmup": round(self.share * own.warmup),
                "lr": self.lr_factor * own.lr,
                "validations": 1,
            }
        )


def training_time(method: str, options: Mapping[str, Any]) -> float:
    """Return how long a student trains, relative to the pair's schedule; 1 except for controls, ``none[time=...]``.

    Returns:
        The factor; NaN if the options of a record are invalid for the plain student.
    """
    time = options.get("time", 1.0) if method == PLAIN else 1.0
    return float(time) if isinstance(time, int | float) else math.nan


class EvaluationSpec(Spec):
    """An evaluation of given weights without training: everything that the score depends on."""

    selector: str
    """Name in leaderboards: the model and the checkpoint's file. Not part of the identity."""
    dataset: str
    data: str
    """Fingerprint of the dataset's card and content."""
    model: Model
    checkpoint: str
    """SHA-256 of the file."""
    scale: tuple[Side, Side]
    """Width and height that images are resized to."""
    keep_ratio: bool
    """Keep the aspect ratio when resizing (``scale`` is then an upper bound)."""
    device: str
    """Class of device: ``cpu``, ``cuda``."""


class StagedTeacherSpec(TeacherSpec):
    """A teacher after a stage. ``recipe`` is the stage's; there is no ``checkpoint``, since it is trained."""

    base: str
    """Identity of the teacher whose weights it starts from."""
    stage: TeacherStage
    revision: Count
    """Revision of the method that requests the stage."""

    @classmethod
    def after(cls, base: TeacherSpec, stage: TeacherStage, revision: int) -> StagedTeacherSpec:
        """Return the spec of a teacher after a stage that a method of this revision requests."""
        own = {"recipe": stage.recipe(base.recipe), "pretrained": False, "checkpoint": None, "classes": None}
        return cls(**{**dict(base), **own}, base=base.identity(), stage=stage, revision=revision)


class RunSpec(Spec):
    """A cell: everything that a student's score depends on."""

    method: str
    selector: str
    """Method with the options that differ from their defaults, as on the command line. Not part of the identity."""
    options: dict[str, Any]
    """All options."""
    revision: Count
    """Revision of the method."""
    dataset: str
    data: str
    """Fingerprint of the dataset's card and content."""
    pair: Pair
    seed: Seed
    schedule: Literal["default", "smoke", "custom"]
    teacher: str | None
    """Identity of the teacher; None for the plain student."""
    precision: Precision
    device: str
    """Class of device: ``cpu``, ``cuda``."""
    processes: Count
    """Processes that share a batch."""

    @property
    def recipe(self) -> Schedule:
        """The student's training recipe: the pair's schedule, stretched for a control."""
        return self.pair.schedule.times(training_time(self.method, self.options))

    def identity(self) -> str:
        """Return the identity. The canonical form of a pair is cached, since thousands of cells share it."""
        parts = self.model_dump(mode="json", exclude={"pair", *LABELS})
        texts = {key: canonical(value) for key, value in parts.items()}
        texts["pair"] = _in_canonical_form(self.pair.model_dump_json(exclude=set(PAIR_LABELS)))
        inside = ",".join(f'"{key}":{texts[key]}' for key in sorted(texts))
        return hashlib.sha256(f"{{{inside}}}".encode()).hexdigest()


@lru_cache(maxsize=256)
def _in_canonical_form(text: str) -> str:
    return canonical(json.loads(text))
