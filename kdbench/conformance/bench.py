"""The bench: builds, probes and trains small models on a few generated scenes."""

from __future__ import annotations

import atexit
import gc
import itertools
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.conformance.models import CHANNELS, MODELS, SCHEDULE, dataset_of
from kdbench.datasets.digits_files import write
from kdbench.devices import CPU
from kdbench.distill.randomness import seeded

if TYPE_CHECKING:
    from kdbench.conformance.recorded import Recorded
    from kdbench.openmmlab.checks.preflight import Probe
    from kdbench.openmmlab.students import Subject
    from kdbench.openmmlab.training.distiller import Distiller
    from kdbench.openmmlab.training.runner import Place, Trained
    from kdbench.specs import TeacherStage

SCENES = {"train": 6, "test": 3}
TEACHER_SEED = 7
PROBED = 2
"""Number of images in a batch on which shapes are probed."""


class Silent:
    """Progress of a training that is not reported."""

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Do nothing."""

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        """Do nothing."""


class Bench:
    """Scenes, small models, and a temporary folder for the trainings.

    Args:
        folder: Folder of existing scenes; None: scenes are generated.
        device: Type of the device.
    """

    def __init__(self, folder: Path | None = None, device: str = CPU) -> None:
        from kdbench.openmmlab.process import use_device
        from kdbench.openmmlab.setup import LIBRARIES, prepare_libraries

        for library in LIBRARIES.values():
            prepare_libraries(library)
        use_device(device)
        self.device = device
        self._temporary = tempfile.TemporaryDirectory(prefix="kdbench-conformance-")
        self.work = Path(self._temporary.name)
        self.folder = folder or self.work / "digits"
        if folder is None:
            write(self.folder, SCENES, 0)
        self._numbers = itertools.count()
        self.probe = cache(self._probe)
        self.recorded = cache(self._recorded)
        _leave_imports_alone()

    def subject(self, family: str, role: str = "student", seed: int = 0, **changes: Any) -> Subject:
        """Return a student or a teacher; ``changes`` apply to its schedule."""
        from kdbench.openmmlab.students import Subject

        schedule = SCHEDULE.model_copy(update=changes)
        model = MODELS[family](CHANNELS[role])
        return Subject(f"{family}-{role}", model, schedule, dataset_of(family), seed, pretrained=False)

    def teacher(self, family: str, number: int, stage: TeacherStage | None) -> Any:
        """Return an untrained teacher, the ``number``-th of an ensemble, with the transform of a stage if given."""
        from kdbench.openmmlab.training.distiller import Teacher

        subject = self.subject(family, "teacher", seed=TEACHER_SEED + number)
        return Teacher(replace(subject, stage=stage).build())

    def train(
        self,
        model: Distiller,
        family: str,
        folder: Path,
        progress: Any = None,
        pack: Any = None,
        **changes: Any,
    ) -> Trained:
        """Train a distiller as a run does; ``changes`` apply to the schedule."""
        from kdbench.openmmlab.training.runner import train

        subject = self.subject(family, seed=model.seed, **changes)
        place = self.place(folder, pack=pack)
        return train(
            model,
            subject.dataset,
            subject.schedule,
            place,
            progress or Silent(),
            seed=model.seed,
            name=f"conformance-{next(self._numbers)}",
        )

    def new_folder(self) -> Path:
        """Create a folder for a training."""
        folder = self.work / f"run-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def place(self, folder: Path, **changes: Any) -> Place:
        """Return the data folder, work folder and device of a training on the scenes."""
        from kdbench.openmmlab.training.runner import Place

        return replace(Place(self.folder, folder, device=self.device), **changes)

    def _probe(self, family: str) -> Probe:
        return self.batch(self.subject(family))

    def batch(self, subject: Subject, count: int = PROBED) -> Probe:
        """Return the first images of a subject's training."""
        from kdbench.openmmlab.checks.preflight import probe_of
        from kdbench.openmmlab.data.loaders import images_of, training_pipeline
        from kdbench.openmmlab.data.sampling import SeededImages

        pipeline = training_pipeline(subject.dataset, subject.schedule)
        return probe_of(SeededImages(images_of(subject.dataset, self.folder, "train", pipeline), 0), count)

    def _recorded(self, family: str) -> Recorded:
        from kdbench.conformance.recorded import record

        with seeded(0, "recorded"):
            return record(self, family)


def _leave_imports_alone() -> None:
    """Exclude existing objects from garbage collection, which mmengine triggers with each loader."""
    gc.freeze()
    atexit.register(gc.unfreeze)
