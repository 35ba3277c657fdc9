"""Checks of a training's effects on the student, the teacher and the process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from kdbench.cards import Options
from kdbench.conformance.broken import PromiseBroken, require, told
from kdbench.conformance.case import MOMENTS, Case
from kdbench.conformance.compare import first_difference, same
from kdbench.conformance.exam import RUN, Exam, Interrupted, Telling, TrainingResult
from kdbench.conformance.silence import silenced
from kdbench.conformance.stepping import stepped
from kdbench.selectors import canonical


def trains(exam: Exam) -> None:
    """Check that the method trains some iterations in each family, and its other variants a single step."""
    for family in exam.families():
        try:
            ended = exam.trained(family)
        except Exception as error:
            raise PromiseBroken(f"in {family} models: {told(error, exam.target.package)}") from error
        require(bool(ended.seen.reached), f"in {family} models losses() gives no term")
    for options in exam.variants[1:]:
        for family in exam.families(options):
            try:
                stepped(exam, family, options=options)
            except Exception as error:
                selector = canonical(exam.card, options)
                raise PromiseBroken(
                    f"{selector} in {family} models: {told(error, exam.target.package)}"
                ) from error


def leaves_settings(exam: Exam) -> None:
    """Check that importing, building and training the method changed no setting of the process."""
    require(not exam.changed, f"it changes {' and '.join(sorted(exam.changed))}")


def reach(exam: Exam) -> None:
    """Check that each term gives the student a gradient in some iteration, and that each part of the method learns.

    Of each part, only some parameter has to learn: the adapter of a level may be idle if the scenes have no object
    on this level.
    """
    for family in exam.families():
        seen = exam.trained(family).seen
        deaf = ", ".join(name for name, reached in seen.reached.items() if not reached)
        require(not deaf, f"in {family} models the term '{deaf}' gives the student no gradient")
        idle = ", ".join(sorted(seen.idle_parts))
        require(not idle, f"in {family} models no term gives a gradient to the method's own {idle}")


def untouched(exam: Exam) -> None:
    """Check that the teacher has the weights of an unused one, is in eval mode and has no gradients."""
    from kdbench.openmmlab.weights.checkpoints import weights_hash

    for family in exam.families():
        written = ", ".join(sorted(exam.trained(family).seen.written))
        require(not written, f"in {family} models it changes {written} in place: work on copies")
        taught = exam.teachers(family, exam.options)
        fresh = exam.new_teachers(family, exam.options)
        for after, before in zip(taught, fresh, strict=True):
            same = weights_hash(after.model) == weights_hash(before.model)
            require(same, f"in {family} models the teacher's weights are others after the training")
            modules, parameters = list(after.model.modules()), list(after.model.parameters())
            require(not any(m.training for m in modules), f"in {family} models the teacher left eval mode")
            require(all(p.grad is None for p in parameters), f"in {family} models the teacher has gradients")


MANY = 50


def fifty(exam: Exam) -> None:
    """Check that a longer training in each family ends without an error."""
    for family in exam.families():
        try:
            exam.train(family, iterations=MANY, validations=1)
        except Exception as error:
            raise PromiseBroken(f"in {family} models: {told(error, exam.target.package)}") from error


STOPPED_AT = 3
"""Iteration after which a training is interrupted."""


def seed(exam: Exam) -> None:
    """Check that two trainings with the same seed, one of them watched, are equal."""
    for family in exam.families():
        same(exam.train(family), exam.trained(family), f"two trainings of one seed in {family} models")


def resume(exam: Exam) -> None:
    """Check that an interrupted and resumed training equals an uninterrupted one."""
    for family in exam.families():
        folder = exam.bench.new_folder()
        with suppress(Interrupted):
            exam.train(family, folder=folder, progress=Telling(until=STOPPED_AT))
        same(exam.train(family, folder=folder), exam.trained(family), f"resumed in {family} models")


def pack(exam: Exam) -> None:
    """Check that training plain student, method, and method with weights 0 side by side changes none of them."""
    quiet = silenced(exam)
    for family in exam.families():
        where = f"in a pack of {family} models"
        plain, ours, without = side_by_side(exam, family, [exam.options, quiet])
        same(ours, exam.trained(family), where)
        same(without, exam.trained(family, quiet), f"at weights of 0 {where}")
        same(plain, exam.plain(family), f"the plain student beside it {where}")


def side_by_side(exam: Exam, family: str, options: list[Options], **changes: Any) -> list[TrainingResult]:
    """Train the plain student and a student with each of the options; ``changes`` apply to the schedule."""
    from kdbench.openmmlab.training.sharing import make_pack

    pack = make_pack()

    def lane(options: Options) -> Callable[[], TrainingResult]:
        return lambda: exam.train(family, options, pack=pack, **changes)

    bodies = {"plain": lambda: exam.train_plain(family, pack, **changes)}
    bodies |= {f"method {number}": lane(each) for number, each in enumerate(options)}
    ended = []
    for result in pack.turns.run(bodies).values():
        if isinstance(result, BaseException):
            raise result
        ended.append(result)
    return ended


def plain(exam: Exam) -> None:
    """Check that with weights 0 the student's weights and evaluations are bitwise those of the plain student."""
    quiet = silenced(exam)
    for family in exam.families(quiet):
        ours, theirs = exam.trained(family, quiet), exam.plain(family)
        difference = first_difference(ours.student, theirs.student)
        if difference is not None or ours.curve != theirs.curve:
            shown = {name: getattr(quiet, name) for name in type(quiet).plain} or "its weights at 0"
            seen = _culprit(Case(exam, family, quiet)) or f"its {difference or 'evaluation'} differs"
            raise PromiseBroken(f"with {shown} in {family} models the student is not the plain one: {seen}")


def _culprit(case: Case) -> str:
    """Name what a method does although its weights are 0; empty if one batch does not show it."""
    method = case.built()
    for iteration in MOMENTS:
        found = {f"the term '{name}'": value for name, value in case.terms(iteration).items()}
        step = case.step(iteration)
        found["task_weight()"] = method.task_weight(step) - 1
        found["classification_weight()"] = method.classification_weight(step) - 1
        found["head_weight()"] = method.head_weight(step) - 1
        for name, value in found.items():
            if value != 0:
                return f"{name} is {value + name.endswith('()'):.6g} in iteration {iteration}"
    return ""


def clean(exam: Exam) -> None:
    """Check that the exported config builds a plain model that loads the exported weights with strict=True."""
    from kdbench.openmmlab.models.building import build_model
    from kdbench.openmmlab.weights.export import export, exported_model

    for family in exam.families():
        subject, model = exam.bench.subject(family, **RUN), exam.trained(family).model
        output = exam.bench.new_folder() / "student.pth"
        weights, config = export(model.student, subject.config(), subject.dataset, subject.schedule, output)
        state = torch.load(weights, weights_only=True)["state_dict"]
        fresh = build_model(exported_model(config), subject.dataset, 0)
        own = fresh.state_dict()
        strange = ", ".join(sorted(state.keys() - own.keys()))
        require(
            not strange, f"the exported {family} student has weights that plain models do not know: {strange}"
        )
        fresh.load_state_dict(state, strict=True)
        buffers = {name for name, _ in model.student.named_modules()} - {n for n, _ in fresh.named_modules()}
        require(
            not buffers, f"the {family} student has modules that plain models do not: {', '.join(buffers)}"
        )
