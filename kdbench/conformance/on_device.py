"""Takes methods through a run on the pretended device, in a process of its own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.conformance import pretend
from kdbench.conformance.broken import told
from kdbench.conformance.target import targets
from kdbench.errors import GateError

if TYPE_CHECKING:
    from kdbench.conformance.exam import Exam, TrainingResult


Parts = Mapping[str, Callable[["Exam", str], None]]
ONCE: dict[str, Any] = {"validations": 1}
"""Of the schedule: it is evaluated at the end alone."""


def main(scenes: Path, out: Path, names: list[str], briefly: Sequence[str] = ()) -> None:
    """Look at methods in every family that they claim.

    Args:
        scenes: Folder of the drawn scenes.
        out: File to write, JSON: a list of ``method``, ``family`` and ``what`` is wrong, empty if nothing.
        names: Selectors of the methods.
        briefly: Selectors of more, which take single steps in the last of their families.
    """
    pretend.install()
    import torch

    from kdbench.conformance.bench import Bench
    from kdbench.conformance.exam import Exam

    torch.set_num_threads(1)
    bench, found = Bench(scenes, pretend.NAME), []
    for name in (*names, *briefly):
        exam, brief = Exam(targets(name)[0], bench), name in briefly
        for family in exam.families()[-1 if brief else 0 :]:
            what = look(exam, family, STEPS if brief else PARTS)
            found.append({"method": name, "family": family, "what": what})
            out.write_text(json.dumps(found), encoding="utf-8")


def look(exam: Exam, family: str, parts: Parts) -> str:
    """Return what is wrong with a method on the device, in one line; empty where nothing is."""
    for what, work in parts.items():
        try:
            work(exam, family)
        except Exception as error:
            left = ", ".join(left_behind(exam, family))
            hint = (
                f"; plain attributes stay on the CPU: {left} (register_buffer, nn.ModuleList)" if left else ""
            )
            return f"{what}: {told(error, exam.target.package)}{hint}"
    return ""


def gates(exam: Exam, family: str) -> None:
    """Build it and look at its first losses, as before each run."""
    from kdbench.openmmlab.checks.preflight import check_losses, check_same_pixels

    model, probe = exam.distiller(family), exam.bench.probe(family)
    for teacher in model.teachers:
        check_same_pixels(model.student, teacher.model, probe)
    with suppress(GateError):  # of a teacher that knows nothing
        check_losses(model, probe, exam.target.name)


def training(exam: Exam, family: str) -> None:
    """Train it interrupted and resumed, and in a pack beside a plain student: it comes to the same."""
    from kdbench.conformance.checks.training import STOPPED_AT, side_by_side
    from kdbench.conformance.compare import same
    from kdbench.conformance.exam import Interrupted, Telling

    folder = exam.bench.new_folder()
    with suppress(Interrupted):
        exam.train(family, folder=folder, progress=Telling(until=STOPPED_AT), **ONCE)
    resumed = exam.train(family, folder=folder, **ONCE)
    _, packed = side_by_side(exam, family, [exam.options], **ONCE)
    same(packed, resumed, "in a pack and resumed")
    exported(exam, family, resumed)


def exported(exam: Exam, family: str, ended: TrainingResult) -> None:
    """Export the trained student."""
    from kdbench.openmmlab.weights.export import export

    subject, output = exam.bench.subject(family), exam.bench.new_folder() / "student.pth"
    export(ended.model.student, subject.config(), subject.dataset, subject.schedule, output)


def picture(exam: Exam, family: str) -> None:
    """Ask it what it attends to."""
    from kdbench.distill import Method
    from kdbench.openmmlab.attention import RunModel, attended
    from kdbench.plugins import load_method

    if load_method(exam.card).attention is Method.attention:
        return
    absent = exam.bench.work / "none.pth"
    models = {role: RunModel(exam.bench.subject(family, role), absent) for role in ("student", "teacher")}
    device, folder = exam.bench.device, exam.bench.folder
    attended(exam.card, exam.options, models, folder, "train", 0, device)


def mixed(exam: Exam, family: str) -> None:
    """Take a step in both half precisions."""
    from kdbench.conformance.checks.conditions import mixed_in

    mixed_in(exam, family)


STEPS: Parts = {
    "build and first losses on a GPU": gates,
    "show-mask on a GPU": picture,
    "mixed precision on a GPU": mixed,
}
PARTS: Parts = {**STEPS, "training on a GPU": training}


REGISTERED = ("_parameters", "_buffers", "_modules")


def left_behind(exam: Exam, family: str) -> Iterator[str]:
    """Name what a built method holds as plain attributes, tensors and lists of modules, which no ``to()`` moves."""
    with suppress(Exception):  # what keeps it from being built has been told
        for name, module in exam.distiller(family).method.named_modules():
            for key, value in vars(module).items():
                if key not in REGISTERED and _stays(value):
                    yield f"{name}.{key}".lstrip(".")


def _stays(value: Any) -> bool:
    from torch import Tensor, nn

    parts = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    )
    return any(
        isinstance(part, nn.Module) or (isinstance(part, Tensor) and part.device.type != pretend.NAME)
        for part in parts
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--briefly", nargs="*", default=[])
    main(**vars(parser.parse_args()))
