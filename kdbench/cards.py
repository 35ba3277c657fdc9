"""The cards that plugins hand over: what a method or a dataset is, readable without importing torch.

A card checks itself when it is made, so that a mistake in it is found in the plugin that makes it.
"""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from kdbench.specs import TASKS, Task, TeacherStage

METRICS = {"detection": ("AP50", "AP50_11point"), "segmentation": ("mIoU",)}
"""Task -> the metrics that can rank."""
REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Options(BaseModel):
    """Options of a method: subclass it, give each field a default and a ``Field(description=...)``.

    They are the method's command-line options (``mimic[weight=2]``) and part of a result's identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    added_later: ClassVar[tuple[str, ...]] = ()
    """Options added later: left out of the identity at their defaults, so that old results stay valid."""
    typical: ClassVar[Mapping[str, float]] = {}
    """Options that are unset by default -> the value around which `kdbench tune` searches them."""
    plain: ClassVar[Mapping[str, Any]] = {}
    """Values at which a run equals the baseline student's; empty: ``weight`` and each ``..._weight`` at 0."""

    @property
    def ensemble(self) -> int:
        """Number of teachers, which differ in their seed."""
        return 1

    @property
    def settled(self) -> frozenset[str]:
        """Options that `kdbench tune` skips: without effect given the others, or too expensive to try."""
        return frozenset()

    def recorded(self) -> dict[str, Any]:
        """Return the options as the identity of a result holds them, JSON-able."""
        defaults = {name: type(self).model_fields[name].default for name in self.added_later}
        unset = {name for name, default in defaults.items() if getattr(self, name) == default}
        return self.model_dump(mode="json", exclude=unset)


def load_object(reference: str) -> Any:
    """Import what ``package.module:name`` points to."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class MethodCard:
    """A method as lists and reports describe it, before it is run.

    Attributes:
        name: Name on the command line: lower case, digits and dashes.
        title: Title of the paper.
        authors: Authors, comma separated.
        year: Year of publication.
        link: Address of the paper.
        bibtex: Entry to cite.
        tasks: Tasks that it can distil.
        equations: The loss in words and symbols, with the choices made where the paper is silent.
        method: ``package.module:Class`` of the ``kdbench.api.Method``, imported when it is run.
        options: Class of its options.
        variants: Name -> meaning, for methods with an option ``variant``.
        reported: CSV file of the published numbers, or None. Its columns: paper, table, dataset, teacher, student,
            variant, metric, value, source (P: the paper, C: a public implementation, N: a note). ``variant`` is
            ``plain`` for the paper's plain student, ``teacher``, or the option ``variant``; a method without that
            option writes the options that differ from their defaults as in a selector (``where=logits``), and
            nothing for the defaults.
        teacher_stage: What these options ask of the teacher: a further fine-tuning, made once and kept beside the
            teacher, or None for the teacher as it is.
        revision: Raise it when a change of the code alters results: cells of another revision are other cells. A
            new version of the package that leaves results as they are keeps it.
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

    def __post_init__(self) -> None:
        _check_options(self)
        if not isinstance(self.tasks, tuple) or not self.tasks or not set(self.tasks) <= set(TASKS):
            raise ValueError(
                f"the tasks of '{self.name}' are {self.tasks}: give a tuple of {', '.join(TASKS)}"
            )
        if self.reported is not None and not self.reported.is_file():
            raise ValueError(f"the reported numbers of '{self.name}' are not there: {self.reported}")
        if type(self.revision) is not int or self.revision < 1:
            raise ValueError(f"the revision of '{self.name}' is {self.revision!r}: give a number from 1 on")

    def published(self) -> list[dict[str, str]]:
        """Return the published numbers, one dict for each row of ``reported``."""
        if self.reported is None:
            return []
        with self.reported.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@dataclass(frozen=True)
class Split:
    """Where one part of a split lies, relative to the dataset's folder.

    Attributes:
        names: Text file with one image a line (its stem, or a path that ends in it).
        images: Folder of the images.
        annotations: Folder of the VOC XML files (detection) or of the label masks (segmentation).
        take: Of the named images ``all``, or one side of ``kdbench.datasets.holdout``.
    """

    names: str
    images: str
    annotations: str
    take: Literal["all", "kept", "held-out"] = "all"


@dataclass(frozen=True)
class Dataset:
    """A dataset's card.

    Attributes:
        name: Name on the command line.
        title: One line for humans.
        task: ``detection`` (VOC XML annotations) or ``segmentation`` (indexed PNG masks).
        classes: Class names; in masks the index is the position here.
        metric: Metric that ranks: ``AP50`` (area under the curve), ``AP50_11point`` or ``mIoU``.
        splits: ``train`` and ``test``, and ``val`` where there is one; several parts are concatenated.
        image_suffix: Ending of the image files.
        prepare: ``package.module:function(folder, source)`` that gets or links the data.
        folder: Folder under the data root (two datasets may share one).
        license: Licence of the data, in words.
        link: Where it comes from.
        citation: What to cite.
        ignore_index: Mask value that is not judged (segmentation only).
        mask_suffix: Ending of the mask files (segmentation only).
        embedded: True where ``prepare`` needs neither a download nor a source: a run may call it by itself.
    """

    name: str
    title: str
    task: Task
    classes: tuple[str, ...]
    metric: str
    splits: Mapping[str, tuple[Split, ...]]
    image_suffix: str
    prepare: str
    folder: str
    license: str
    link: str
    citation: str
    ignore_index: int = 255
    mask_suffix: str = ".png"
    embedded: bool = False

    def __post_init__(self) -> None:
        _check_reference(self.name, "prepare", self.prepare)
        if self.task not in TASKS:
            raise ValueError(f"the task of '{self.name}' is {self.task!r}: give {' or '.join(TASKS)}")
        if self.metric not in METRICS[self.task]:
            known = " or ".join(METRICS[self.task])
            raise ValueError(f"the metric of '{self.name}' is {self.metric!r}: give {known}")
        if not _is_tuple(self.classes, str) or not self.classes:
            raise TypeError(f"the classes of '{self.name}' are {self.classes!r}: give a tuple of names")
        if not isinstance(self.splits, Mapping) or not {"train", "test"} <= set(self.splits):
            raise ValueError(f"the splits of '{self.name}' lack 'train' or 'test'")
        for name, parts in self.splits.items():
            if not _is_tuple(parts, Split) or not parts:
                raise TypeError(f"the split '{name}' of '{self.name}' is no tuple of kdbench.api.Split")


@dataclass(frozen=True)
class ExecutorCard:
    """A way to run the workers of a sweep.

    Attributes:
        name: Name on the command line.
        title: One line for humans.
        target: ``package.module:Class`` of the ``kdbench.api.Executor``.
        requires: Modules that must be installed for it.
        install: Command that installs them.
        options: Class of its options, ``ray[address=auto]``; the target's class takes them as keyword arguments.
    """

    name: str
    title: str
    target: str
    requires: tuple[str, ...] = ()
    install: str = ""
    options: type[Options] = Options

    def __post_init__(self) -> None:
        _check_options(self)
        _check_reference(self.name, "target", self.target)
        if not _is_tuple(self.requires, str):
            raise TypeError(f"what '{self.name}' requires is {self.requires!r}: give a tuple of modules")


@dataclass(frozen=True)
class MetricCard:
    """A further column of the leaderboards: a score that a record's own metrics give.

    It ranks nothing: what ranks is the dataset's metric. It is computed for each record when a leaderboard is made
    and is no part of the record, so that old results have it too.

    Attributes:
        name: Name of the column, which is ``metric:NAME``: lower case, digits and dashes.
        title: One line for humans.
        function: ``package.module:function``, which is given a record's metrics after the last iteration, name ->
            fraction (``AP50``, ``AP50/CLASS``, ``mIoU``, ``IoU/CLASS``), and returns a fraction in [0, 1], or None
            where these metrics do not give one. Imports no torch.
        higher_is_better: Whether sorting by it begins with the largest.
    """

    name: str
    title: str
    function: str
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        _check_reference(self.name, "function", self.function)


def _check_options(card: MethodCard | ExecutorCard) -> None:
    if not (isinstance(card.options, type) and issubclass(card.options, Options)):
        raise TypeError(f"the options of '{card.name}' are no subclass of kdbench.api.Options")


def _check_reference(name: str, field: str, value: object) -> None:
    if not isinstance(value, str) or REFERENCE.fullmatch(value) is None:
        raise ValueError(f"the {field} of '{name}' is {value!r}: give 'package.module:name'")


def _is_tuple(values: object, kind: type) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, kind) for value in values)
