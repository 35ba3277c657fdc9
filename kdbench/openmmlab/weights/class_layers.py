"""Layers whose rows depend on the number of classes: which they are, and which rows belong to which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import UserError
from kdbench.openmmlab.complexity import without_values
from kdbench.openmmlab.models.building import full_config
from kdbench.openmmlab.weights.checkpoints import check_loaded, load, weights_in
from kdbench.specs import file_digest

if TYPE_CHECKING:
    from kdbench.openmmlab.students import Subject


@dataclass(frozen=True)
class ClassLayer:
    """How many rows a weight has for a number of classes: ``each * classes + beside``.

    Attributes:
        each: Rows of a class.
        beside: Further rows, for the background.
        together: Whether the rows of a class are consecutive, as in box regression; else there are ``each`` blocks,
            one for each anchor, with a row for each class and then the background.
    """

    each: int
    beside: int
    together: bool

    def classes(self, rows: int) -> int:
        """Return the number of classes of a weight with so many rows."""
        return (rows - self.beside) // self.each

    def rows(self, taken: Sequence[int], classes: int) -> list[int]:
        """Return the rows of some classes, and of the background.

        Args:
            taken: Indices of the classes, in the wanted order.
            classes: Number of classes of the weight.
        """
        if self.together:
            return [index * self.each + row for index in taken for row in range(self.each)]
        background = self.beside // self.each
        block = [*taken, *range(classes, classes + background)]
        return [anchor * (classes + background) + row for anchor in range(self.each) for row in block]


def class_layers(subject: Subject) -> dict[str, ClassLayer]:
    """Return the layers of a model whose rows depend on the number of classes, by the name of their weight."""
    dataset = subject.dataset
    more = replace(dataset, classes=(*dataset.classes, "one more"), mask_values={})
    rows, others = (_row_counts(replace(subject, dataset=each)) for each in (dataset, more))
    count, found = len(dataset.classes), {}
    for name, number in rows.items():
        each = others[name] - number
        if each:
            found[name] = ClassLayer(each, number - each * count, together="reg" in name.split(".")[-2])
    return found


def _row_counts(subject: Subject) -> dict[str, int]:
    return {
        name: value.shape[0] for name, value in _without_values(subject).state_dict().items() if value.ndim
    }


def _without_values(subject: Subject) -> Any:
    config = full_config(subject.model, subject.dataset, subject.schedule, pretrained=False)
    return without_values(config, subject.dataset)


_other_classes: dict[tuple[object, ...], int | None] = {}
"""File, its time and size, model and classes -> number of other classes: a large file is read only once."""


def other_classes(subject: Subject, weights: Path) -> int | None:
    """Return the number of classes of given weights if it is not the dataset's, else None.

    None as well where their classes are mapped to the dataset's, or nothing in the file depends on classes.

    Raises:
        UserError: As :func:`kdbench.openmmlab.weights.checkpoints.weights_in` does.
    """
    if subject.classes is not None:
        return None
    stamp = (weights.stat().st_mtime_ns, weights.stat().st_size) if weights.is_file() else None
    key = (weights.absolute(), stamp, subject.model.model_dump_json(), subject.dataset.classes)
    if key not in _other_classes:
        _other_classes[key] = _classes_in(subject, weights)
    return _other_classes[key]


def _classes_in(subject: Subject, weights: Path) -> int | None:
    model = _without_values(subject)
    own, state = model.state_dict(), weights_in(model, weights, subject.renamed())
    if all(value.shape == own[name].shape for name, value in state.items() if name in own):
        return None  # and there is no need to find out which layers depend on classes
    layers = class_layers(subject)
    found = next((layer.classes(len(state[name])) for name, layer in layers.items() if name in state), None)
    return None if found == len(subject.dataset.classes) else found


def model_to_fine_tune(subject: Subject, start: Path) -> tuple[Any, list[str]]:
    """Return a model with the weights to start from, and a line on the layers that other classes make new.

    Args:
        subject: The model.
        start: File of the weights.

    Raises:
        UserError: If the weights lack any other layer.
    """
    model, missed = subject.loaded(start)
    if not missed:
        return model, []
    layers = class_layers(subject)
    check_loaded({name: why for name, why in missed.items() if name not in layers}, start)
    made = ", ".join(name for name in missed if name in layers)
    note = f"fine-tuned from SHA-256 {file_digest(start)}, which is of other classes: {made} made anew"
    return model, [note] if made else []


def rows_for(subject: Subject, wanted: Mapping[str, str], file: Path) -> dict[str, list[int]]:
    """Return the rows of a checkpoint's weights that belong to a dataset's classes, by the weight's name.

    Args:
        subject: The model.
        wanted: Class of the dataset -> class of the checkpoint.
        file: The checkpoint.

    Raises:
        UserError: If the checkpoint does not name its classes, or lacks one of them.
    """
    names = _class_names(file)
    if lacking := [name for name in wanted.values() if name not in names]:
        why = (
            f"has no class '{lacking[0]}': it has {', '.join(names)}"
            if names
            else "does not name its classes"
        )
        raise UserError(f"checkpoint {file} {why}.")
    taken = [names.index(wanted[name]) for name in subject.dataset.classes]
    return {name: layer.rows(taken, len(names)) for name, layer in class_layers(subject).items()}


def _class_names(file: Path) -> list[str]:
    """Return the classes that OpenMMLab writes beside the weights, in their order; empty if there are none."""
    content = load(file)
    meta = content.get("meta") if isinstance(content, Mapping) else None
    meta = meta if isinstance(meta, Mapping) else {}
    of_dataset = meta.get("dataset_meta")
    of_dataset = of_dataset if isinstance(of_dataset, Mapping) else {}
    found = of_dataset.get("classes") or of_dataset.get("CLASSES") or meta.get("CLASSES") or ()
    return [found] if isinstance(found, str) else [str(name) for name in found]
