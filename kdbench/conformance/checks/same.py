"""Trainings that must come to the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from kdbench.cards import Options
from kdbench.conformance.compare import same
from kdbench.conformance.exam import Ended, Exam, Interrupted, Telling
from kdbench.conformance.silence import silenced

STOPPED_AT = 3
"""Iteration after which a training is cut off."""


def seed(exam: Exam) -> None:
    """Two trainings of the same spec, one of them watched."""
    for family in exam.families():
        same(exam.train(family), exam.trained(family), f"two trainings of one seed in {family} models")


def resume(exam: Exam) -> None:
    """A training that was cut off goes on in its folder, from the checkpoint of the iteration before."""
    for family in exam.families():
        folder = exam.bench.new_folder()
        with suppress(Interrupted):
            exam.train(family, folder=folder, progress=Telling(until=STOPPED_AT))
        same(exam.train(family, folder=folder), exam.trained(family), f"resumed in {family} models")


def pack(exam: Exam) -> None:
    """The plain student, the method, and the method without its weights, side by side."""
    quiet = silenced(exam)
    for family in exam.families():
        where = f"in a pack of {family} models"
        plain, ours, without = side_by_side(exam, family, [exam.options, quiet])
        same(ours, exam.trained(family), where)
        same(without, exam.trained(family, quiet), f"at weights of 0 {where}")
        same(plain, exam.plain(family), f"the plain student beside it {where}")


def side_by_side(exam: Exam, family: str, options: list[Options]) -> list[Ended]:
    """The plain student and, with each of the options, a student of the method."""
    from kdbench.openmmlab.sharing import make_pack

    pack = make_pack()

    def lane(options: Options) -> Callable[[], Ended]:
        return lambda: exam.train(family, options, pack=pack)

    bodies = {"plain": lambda: exam.train_plain(family, pack)}
    bodies |= {f"method {number}": lane(each) for number, each in enumerate(options)}
    ended = []
    for result in pack.turns.run(bodies).values():
        if isinstance(result, BaseException):
            raise result
        ended.append(result)
    return ended
