"""Checks that nothing was changed that a training shares with others: the process's settings and the teacher."""

from __future__ import annotations

from collections.abc import Iterable

from kdbench.distill.settings import put_back, values
from kdbench.errors import Disturbed
from kdbench.openmmlab.training.distiller import Teacher


class Watch:
    """Remembers what the settings of this process are when it is made."""

    def __init__(self) -> None:
        self._settings = values()

    def check(self, teachers: Iterable[Teacher]) -> None:
        """Look at the settings, which are put back, and at the weights of teachers.

        Raises:
            Disturbed: If they are not what they were.
        """
        changed = put_back(self._settings)
        changed += ["the teacher's weights"] if not all(teacher.intact() for teacher in teachers) else []
        if changed:
            raise Disturbed(f"a method changed {' and '.join(changed)} during the training")
