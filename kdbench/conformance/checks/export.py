"""What is handed to users."""

from __future__ import annotations

import torch

from kdbench.conformance.broken import require
from kdbench.conformance.exam import RUN, Exam


def clean(exam: Exam) -> None:
    """The exported config builds a plain model, which takes the exported weights with strict=True."""
    from kdbench.openmmlab.export import export, exported_model
    from kdbench.openmmlab.models import build_model

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
