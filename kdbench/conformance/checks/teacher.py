"""The teacher stays as it is."""

from __future__ import annotations

from kdbench.conformance.broken import require
from kdbench.conformance.exam import Exam


def untouched(exam: Exam) -> None:
    """Its weights have the hash of a teacher that taught nobody; it is in eval mode and has no gradient."""
    from kdbench.openmmlab.checkpoints import weights_hash

    for family in exam.families():
        written = ", ".join(sorted(exam.trained(family).seen.written))
        require(
            not written, f"in {family} models it changes the teacher's {written} in place: work on copies"
        )
        taught = exam.teachers(family, exam.options)
        fresh = exam.new_teachers(family, exam.options)
        for after, before in zip(taught, fresh, strict=True):
            same = weights_hash(after.model) == weights_hash(before.model)
            require(same, f"in {family} models the teacher's weights are others after the training")
            modules, parameters = list(after.model.modules()), list(after.model.parameters())
            require(not any(m.training for m in modules), f"in {family} models the teacher left eval mode")
            require(all(p.grad is None for p in parameters), f"in {family} models the teacher has gradients")
