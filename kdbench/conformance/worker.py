"""One of two processes of a training; it writes the hashes of student and method after each iteration."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(name: str, family: str, scenes: Path, out: Path) -> None:
    """Join the other process and train.

    Args:
        name: Selector of the method.
        family: Family of the models.
        scenes: Folder of the generated scenes.
        out: Folder for the hashes.
    """
    import torch

    from kdbench.conformance.bench import Bench
    from kdbench.conformance.checks.conditions import BATCH, ITERATIONS
    from kdbench.conformance.exam import Exam, Telling
    from kdbench.conformance.target import targets
    from kdbench.openmmlab.process import join_processes
    from kdbench.openmmlab.weights.checkpoints import weights_hash

    torch.set_num_threads(1)
    bench = Bench(scenes)
    join_processes("cpu")
    exam = Exam(targets(name)[0], bench)
    told: list[dict[str, str]] = []

    class Hashing(Telling):
        def advance(self, iteration: int, losses: dict[str, float]) -> None:
            super().advance(iteration, losses)
            told.append({"student": weights_hash(model.student), "method": weights_hash(model.method)})

    changes: dict[str, Any] = {"iterations": ITERATIONS, "batch_size": BATCH}
    model = exam.distiller(family, **changes)
    bench.train(model, family, out / "run", Hashing(), **changes)
    (out / f"rank{os.environ['RANK']}.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
