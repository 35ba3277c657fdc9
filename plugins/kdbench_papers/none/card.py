"""The card of the plain student."""

from kdbench.api import TASKS, MethodCard, families_of

CARD = MethodCard(
    name="none",
    title="The plain student, trained on the ground truth alone",
    authors="",
    year=0,
    link="",
    bibtex="",
    tasks=TASKS,
    families=families_of(*TASKS),
    equations="L = L_task. The row that every method is compared with: same seed, same start, same batches.",
    method="kdbench_papers.none.method:Plain",
)
