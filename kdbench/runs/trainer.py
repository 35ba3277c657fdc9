"""The interface through which a session trains: :mod:`kdbench.openmmlab.students`, or a fake in tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kdbench.cards import MethodCard, Options
from kdbench.errors import GateError

if TYPE_CHECKING:
    from kdbench.openmmlab.students import Outcome, Subject
    from kdbench.openmmlab.training.distiller import Teacher
    from kdbench.openmmlab.training.hooks import Progress
    from kdbench.openmmlab.training.runner import Place


class Trainer(Protocol):
    """Trains, loads and measures models; the implementation's docstrings say more."""

    def train_alone(
        self, subject: Subject, place: Place, progress: Progress, start: Path | None = None
    ) -> Outcome:
        """Train a plain student or a teacher, from the weights in ``start`` if that is given."""

    def train_with(
        self,
        subject: Subject,
        teachers: Sequence[Teacher],
        card: MethodCard,
        options: Options,
        place: Place,
        progress: Progress,
        *,
        force: bool = False,
    ) -> Outcome:
        """Train a student with a method, after the gates."""

    def load_teacher(
        self,
        subject: Subject,
        weights: Path | None,
        overrule: Callable[[GateError], None],
    ) -> Teacher:
        """Return a frozen teacher with the weights in a file, or with random ones."""

    def other_classes(self, subject: Subject, weights: Path) -> int | None:
        """Return the number of classes of given weights where it is not the dataset's."""

    def evaluate(self, model: Any, subject: Subject, place: Place) -> dict[str, float]:
        """Return the metrics of a model on the test split."""


def openmmlab() -> Trainer:
    """Return the trainer of every real run; it is imported here, since that takes seconds."""
    from kdbench.openmmlab import students

    return students
