"""Cards: the descriptions of methods, models and executors that plugins yield, free of torch.

Those of datasets and metrics are in :mod:`kdbench.dataset_cards`.

A card validates itself when it is created, so that a mistake is reported in the plugin that made it.
"""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeGuard, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from kdbench.specs import TASKS, Family, Model, Pair, Task, TeacherStage, families_of, task_of

T = TypeVar("T")
PAPER_COLUMNS = frozenset(("table", "dataset", "teacher", "student", "variant", "metric", "value", "source"))
"""Columns of the published numbers."""
REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_weight(name: str) -> bool:
    """Whether an option is the weight of a loss term: ``weight`` or ``..._weight``, also of a method in a sum."""
    return name.rpartition(".")[2] == "weight" or name.endswith("_weight")


class Options(BaseModel):
    """Options of a method: subclass it, give each field a default, a docstring and a range (``Field(ge=0)``).

    The fields are the method's command-line options (``mimic[weight=2]``) and part of a result's identity. An
    option ``weight`` or ``..._weight`` must not be negative.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    added_later: ClassVar[tuple[str, ...]] = ()
    """Options added later: left out of the identity at their defaults, so that old results stay valid."""
    typical: ClassVar[Mapping[str, float]] = {}
    """For options that are unset by default: option -> value around which `kdbench tune` searches."""
    plain: ClassVar[Mapping[str, Any]] = {}
    """Option values at which a run equals the plain student's, such as ``{"beta": 0.0}``. Default: ``weight`` and
    each ``..._weight`` at 0."""

    @field_validator("*")
    @classmethod
    def _is_no_negative_weight(cls, value: Any, info: ValidationInfo) -> Any:
        if is_weight(info.field_name or "") and isinstance(value, float | int) and value < 0:
            raise ValueError("a weight must not be negative")
        return value

    @property
    def ensemble(self) -> int:
        """Number of teachers, which differ in their seeds."""
        return 1

    @property
    def settled(self) -> frozenset[str]:
        """Options that `kdbench tune` skips: without effect given the others, or too expensive to search."""
        return frozenset()

    def recorded(self) -> dict[str, Any]:
        """Return the options that are part of a result's identity, as JSON values."""
        defaults = {name: type(self).model_fields[name].default for name in self.added_later}
        unset = {name for name, default in defaults.items() if getattr(self, name) == default}
        return self.model_dump(mode="json", exclude=unset)


def load_object(reference: str) -> Any:
    """Import the object that ``package.module:name`` refers to."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class MethodCard:
    """A distillation method's card.

    Attributes:
        name: Name on the command line: lower case, digits and dashes.
        title: Title of the paper.
        authors: Authors, comma separated.
        year: Year of publication.
        link: URL of the paper.
        bibtex: BibTeX entry of the paper.
        tasks: Tasks that the method supports.
        equations: The loss in words and symbols, with the choices made where the paper is silent.
        method: ``package.module:Class`` of the ``kdbench.api.Method``, imported when the method is run.
        options: Class of the method's options.
        variants: Name -> meaning, for methods with an option ``variant``.
        reported: CSV file of the published numbers, or None. Its columns: paper, table, dataset, teacher, student,
            variant, metric, value, source (P: the paper, D: computed from a printed difference, C: a public
            implementation, N: a note), and an optional note. ``variant`` is ``plain`` for the paper's plain
            student, ``teacher`` for a teacher (a row without a student), or else a value of the option ``variant``.
            For a method without this option, write the options that differ from their defaults as in a selector
            (``where=logits``), or nothing for the defaults. Use kdbench's name of a metric (AP50, mAP, mIoU) if it
            has one.
        teacher_stage: Function that maps the options to a further fine-tuning of the teacher, which is done once
            and kept, or to None if the teacher is used as it is.
        revision: Number to raise when a change of the code alters results; cells of another revision are different
            cells. Keep it in a new version of the package that does not alter results.
        directional: Why a mirrored batch gives other losses, if the paper intends this; empty: it does not.
        families: Families of models in which at least one variant works, for lists and the guide; empty: not
            stated. A run ignores it and checks the method's captures.
        attends: What ``kdbench show-mask`` draws for the method, in a few words; empty: nothing.
        compression: For a compression, which makes the student from the trained teacher and adds no loss: returns
            the model of its student for the options and the pair. Its class is a ``kdbench.api.Compression``. None
            for a method that distils.
    """

    name: str
    title: str
    authors: str
    year: int
    link: str
    bibtex: str
    tasks: tuple[Task, ...]
    equations: str
    method: str
    options: type[Options] = Options
    variants: Mapping[str, str] = field(default_factory=dict)
    reported: Path | None = None
    teacher_stage: Callable[[Options], TeacherStage | None] | None = None
    revision: int = 1
    directional: str = ""
    families: tuple[Family, ...] = ()
    attends: str = ""
    compression: Callable[[Options, Pair], Model] | None = None

    def __post_init__(self) -> None:
        _check_options(self)
        if not isinstance(self.tasks, tuple) or not self.tasks or not set(self.tasks) <= set(TASKS):
            raise ValueError(
                f"the tasks of '{self.name}' are {self.tasks}: give a tuple of {', '.join(TASKS)}"
            )
        _check_families(self)
        _check_reported(self)
        if type(self.revision) is not int or self.revision < 1:
            raise ValueError(f"the revision of '{self.name}' is {self.revision!r}: give a number from 1 on")

    @property
    def kind(self) -> Literal["distillation", "compression"]:
        """Whether it adds a loss to the student's training, or makes the student."""
        return "distillation" if self.compression is None else "compression"

    def published(self) -> list[dict[str, str]]:
        """Return the published numbers, one dict for each row of ``reported``."""
        if self.reported is None:
            return []
        with self.reported.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@dataclass(frozen=True)
class ModelCard:
    """A named network for ``--teacher``, ``--student`` and ``kdbench evaluate``, or a source of feature teachers.

    Attributes:
        name: Name on the command line: lower case, digits and dashes.
        title: One line for humans.
        task: Task of the network; None for a source of feature teachers.
        config: ``package::file``, an OpenMMLab config in the package's folder. Its ``custom_imports`` names the
            modules that register the network, and its ``revise_keys`` renames the weights of foreign checkpoints,
            in the format of mmengine's ``load_checkpoint``.
        link: URL of the network's source.
        citation: What to cite.
        features: Instead of ``config``, for a source of feature teachers ``NAME:NETWORK``:
            ``package.module:function(network, out_indices, **arguments)``, which returns a
            ``kdbench.api.FeatureNetwork``. It must not download anything and must always return the same network
            for the same name.
    """

    name: str
    title: str
    task: Task | None
    config: str = ""
    link: str = ""
    citation: str = ""
    features: str = ""

    def __post_init__(self) -> None:
        if self.features:
            check_reference(self.name, "features", self.features)
            if self.config or self.task is not None:
                raise ValueError(
                    f"'{self.name}' is a source of feature teachers: it has no config and no task"
                )
            return
        if self.task not in TASKS:
            raise ValueError(f"the task of '{self.name}' is {self.task!r}: give {' or '.join(TASKS)}")
        if "::" not in self.config:
            raise ValueError(f"the config of '{self.name}' is {self.config!r}: give 'package::file'")


@dataclass(frozen=True)
class ExecutorCard:
    """A way to run the workers of a sweep.

    Attributes:
        name: Name on the command line.
        title: One line for humans.
        target: ``package.module:Class`` of the ``kdbench.api.Executor``.
        requires: Modules that must be installed.
        install: Command that installs them.
        options: Class of the options, ``ray[address=auto]``, which are passed to the executor as keyword arguments.
    """

    name: str
    title: str
    target: str
    requires: tuple[str, ...] = ()
    install: str = ""
    options: type[Options] = Options

    def __post_init__(self) -> None:
        _check_options(self)
        check_reference(self.name, "target", self.target)
        if not is_tuple_of(self.requires, str):
            raise TypeError(f"what '{self.name}' requires is {self.requires!r}: give a tuple of modules")


def _check_options(card: MethodCard | ExecutorCard) -> None:
    if not (isinstance(card.options, type) and issubclass(card.options, Options)):
        raise TypeError(f"the options of '{card.name}' are not a subclass of kdbench.api.Options")


def _check_reported(card: MethodCard) -> None:
    if card.reported is not None and not card.reported.is_file():
        raise ValueError(f"the reported numbers of '{card.name}' are not there: {card.reported}")
    try:
        rows = card.published()
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"the reported numbers of '{card.name}' are no CSV in UTF-8: {error}") from error
    if lacking := sorted(PAPER_COLUMNS - rows[0].keys()) if rows else []:
        raise ValueError(f"the reported numbers of '{card.name}' have no column {', '.join(lacking)}")


def _check_families(card: MethodCard) -> None:
    known, given = families_of(*card.tasks), card.families
    each = not given or {task_of(family) for family in given} == set(card.tasks)
    if not isinstance(given, tuple) or not set(given) <= set(known) or not each:
        told = f"give a tuple of {', '.join(known)}, of each task one at least"
        raise ValueError(f"the families of '{card.name}' are {given}: {told}")


def check_reference(name: str, field: str, value: object) -> None:
    """Raise ValueError unless a field of a card has the form of a reference, ``package.module:name``."""
    if not isinstance(value, str) or REFERENCE.fullmatch(value) is None:
        raise ValueError(f"the {field} of '{name}' is {value!r}: give 'package.module:name'")


def is_tuple_of(values: object, kind: type[T]) -> TypeGuard[tuple[T, ...]]:
    """Whether a value of a card is a tuple of such values."""
    return isinstance(values, tuple) and all(isinstance(value, kind) for value in values)
