"""The card of the plain student."""

from typing import ClassVar

from pydantic import Field

from kdbench.api import TASKS, MethodCard, Options, families_of


class PlainOptions(Options):
    """Options of the plain student."""

    added_later: ClassVar[tuple[str, ...]] = ("time",)

    time: float = Field(default=1.0, ge=1, le=100)
    """Training time relative to the pair's schedule; more than 1 makes it a control for slower methods."""


CARD = MethodCard(
    name="none",
    title="The plain student, trained on the ground truth alone",
    authors="",
    year=0,
    link="",
    bibtex="",
    tasks=TASKS,
    families=families_of(*TASKS),
    equations="""L = L_task. The baseline of all comparisons: same seed, same initial weights, same batches.

none[time=1.5] is a control: a plain student that trains 1.5 times as long. It has 1.5 times the iterations; the
warm-up and the decay of the learning rate are stretched accordingly, and the peak learning rate is the same.
Leaderboards compare it with methods whose iterations take up to 1.5 times as long.""",
    method="kdbench_papers.none.method:Plain",
    options=PlainOptions,
)
