"""Sessions on made-up trainings that cost nothing."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kdbench.results.store import Store
from kdbench.runs.plan import plan
from kdbench.runs.request import Request
from kdbench.runs.session import Session
from kdbench.runs.settings import RunSettings

METRICS = {"AP50": 0.5, "AP50/3": 0.4}


class Told:
    """Keeps what a session says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def stage(self, title: str, iterations: int):
        self.lines.append(f"{title}, {iterations} iterations")
        yield None


class Lab:
    """A trainer whose trainings are made up: ``trained`` has each one's identity, ``score`` what it gives."""

    def __init__(self, data: Path, root: Path) -> None:
        self.data, self.root = data, root
        self.trained: list[str] = []
        self.score = 0.5
        self.fail: Exception | None = None
        self.fails: str | None = None
        self.starts: list[Path] = []
        self.other: int | None = None
        self.told = Told()

    @property
    def store(self) -> Store:
        return Store(self.root / "results")

    def plan(self, method: str = "hinton", schedule: Any = "default", **changes: Any) -> Any:
        request = Request(method=method, dataset="digits", schedule=schedule, data_root=self.data, **changes)
        return plan(request)

    def run(self, method: str = "hinton", *, force: bool = False, rerun: bool = False, **changes: Any) -> Any:
        self.told, self.trained = Told(), []
        settings = RunSettings(work_dir=self.root / "runs", results=self.store.root, force=force, rerun=rerun)
        return Session(self.plan(method, **changes), settings, self.told, self).run()

    def train_alone(self, subject: Any, place: Any, progress: Any, start: Path | None = None) -> Any:
        self.starts += [start] if start else []
        return self.train(subject, place)

    def train_with(
        self, subject: Any, teachers: Any, card: Any, options: Any, place: Any, progress: Any, **_: Any
    ) -> Any:
        return self.train(subject, place)

    def load_teacher(self, *_: Any) -> Any:
        return SimpleNamespace(model="the teacher")

    def other_classes(self, *_: Any) -> int | None:
        return self.other

    def evaluate(self, *_: Any) -> dict[str, float]:
        return METRICS

    def train(self, subject: Any, place: Any) -> Any:
        from kdbench.openmmlab.students import Outcome

        self.trained.append(subject.name)
        if self.fail is not None and self.fails in (None, subject.name):
            raise self.fail
        place.work_dir.mkdir(parents=True, exist_ok=True)
        (place.work_dir / "student.pth").write_bytes(b"weights")
        curve = [{"iteration": 1, "AP50": 0.9}, {"iteration": 2, **METRICS, "AP50": self.score}]
        return Outcome(curve, {"seconds_per_iteration": 0.1}, ["a note"])

    def records(self) -> dict[tuple[str, str], Any]:
        """Method and status -> record."""
        return {(record.method, record.status): record for record in self.store.records("digits")[0]}
