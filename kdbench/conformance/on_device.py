"""Runs methods on the simulated device, in a separate process."""

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
"""Change to the schedule: only the end is evaluated."""


def main(scenes: Path, out: Path, names: list[str], briefly: Sequence[str] = ()) -> None:
    """Check methods in all families that they support.

    Args:
        scenes: Folder of the generated scenes.
        out: JSON file to write: a list of objects with ``method``, ``family`` and ``what``, the problem or "".
        names: Selectors of the methods.
        briefly: Selectors of further methods, which only take single steps in the last of their families.
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
    """Return a method's problem on the device, in one line; empty if there is none."""
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
    """Build the method and check its first losses, like the gates of a run."""
    from kdbench.openmmlab.checks.preflight import check_losses, check_same_pixels

    model, probe = exam.distiller(family), exam.bench.probe(family)
    for teacher in model.teachers:
        check_same_pixels(model.student, teacher.model, probe)
    with suppress(GateError):  # the teacher is untrained
        check_losses(model, probe, exam.target.name)


def training(exam: Exam, family: str) -> None:
    """Check that an interrupted and resumed training equals one in a pack with a plain student."""
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
    """Compute the maps for ``show-mask``, if the method has any."""
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
    """Check a step in both half precisions."""
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
    """Yield the plain attributes of a built method with tensors or modules, which ``to()`` does not move."""
    with suppress(Exception):  # an error in build() has been reported already
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
