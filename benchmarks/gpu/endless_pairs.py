"""Plugin for the throughput script: kdbench's own pairs with students that train until they are stopped."""

from __future__ import annotations

from kdbench import pairs
from kdbench.api import Pair, hookimpl

SUFFIX = "-endless"
ITERATIONS = 1_000_000


@hookimpl
def kdbench_pairs() -> list[Pair]:
    """Return the pairs. Their teachers train for only two iterations, which does not change their forward time."""
    return [_endless(pair) for pair in pairs.kdbench_pairs()]


def _endless(pair: Pair) -> Pair:
    student = pair.schedule.model_copy(update={"iterations": ITERATIONS, "validations": 1})
    teacher = pair.teacher_schedule.model_copy(update={"iterations": 2, "validations": 1})
    name = pair.name + SUFFIX
    return pair.model_copy(update={"name": name, "schedule": student, "teacher_schedule": teacher})
