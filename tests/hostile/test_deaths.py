"""The death of a worker: its cells run again in halves, then alone, and only the guilty one fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import session_lab
from sweep_support import Told, pretend, sweep_of

from kdbench.executors.base import Ended, Executor, Resources
from kdbench.runs import worker
from kdbench.runs.claims_owner import Owner
from kdbench.runs.packs import read_pack
from kdbench.runs.progress import PackProgress, WorkerConsole
from kdbench.specs import TeacherSpec

METHODS = ("hinton", "mimic", "fitnets")


class Silent(session_lab.Told):
    def advance(self, iteration, losses): ...


class Here(Executor):
    """Pretends to train in this process; a worker with hinton's cell dies at ``where``, with the code ``how``."""

    slots, resources = 1, Resources(0.0, 1)

    def __init__(self, how: int, where: str = "step", deaths: int = 100) -> None:
        self.how, self.where, self.deaths = how, where, deaths
        self.workers: list[list[str]] = []
        self.ended: list[Ended] = []

    def submit(self, command, resources, log: Path) -> str:
        pack = read_pack(Path(command[-1]))
        self.workers.append([request.method for request in pack.requests])
        dies = "hinton" in self.workers[-1] and self.deaths > 0
        self.deaths -= dies
        if not dies or self.where == "step":
            self.train(pack, teachers_only=dies)
        if self.where != "import":
            told = PackProgress(pack=pack.name, title=pack.title, cells={}, owner=Owner.here())
            WorkerConsole(pack.folder, told).publish(training=self.where, ended=not dies)
        self.ended.append(Ended.process(str(len(self.workers)), self.how if dies else 0))
        return self.ended[-1].handle

    def train(self, pack, teachers_only: bool) -> None:
        plans = worker.planned(pack)
        if teachers_only:
            plans = [plan for plan in plans if plan.teacher][:1]
        with pytest.MonkeyPatch.context() as patch:
            if teachers_only:
                patch.setattr("sweep_support.is_made", self.only_teachers(pack.settings))
            pretend(plans, pack.settings, console=Pretended(), mode="")

    @staticmethod
    def only_teachers(settings):
        from kdbench.runs.made import is_made

        return lambda _settings, spec: not isinstance(spec, TeacherSpec) or is_made(settings, spec)

    def wait(self, timeout: float) -> list[Ended]:
        found, self.ended = self.ended, []
        return found

    def cancel(self, handle: str, *, now: bool) -> None: ...

    def close(self) -> None: ...


class Pretended:
    def stage(self, title, iterations):
        from contextlib import nullcontext

        return nullcontext(Silent())


@pytest.fixture
def run(tmp_path, small_digits, monkeypatch):
    """Runs a sweep of four cells in one pack: why each failed by its method, what is done, and what was said."""
    monkeypatch.setattr("kdbench.runs.provenance.host_class", lambda: "pretended")
    monkeypatch.setattr("time.sleep", lambda _seconds: None)

    def run(executor: Executor) -> tuple[dict[str, str], set[str], list[str]]:
        view = Told()
        sweep = sweep_of(tmp_path, small_digits, executor, view=view, methods=METHODS, seeds=1)
        assert sweep.run()
        failed = {failure.item.plan.cell.method: failure.why for failure in sweep.failures}
        return failed, {record.method for record in sweep.records}, view.lines

    return run


@pytest.mark.parametrize("where", ["step", "import"])
@pytest.mark.parametrize(
    ("how", "told"),
    [
        (-9, "killed by SIGKILL"),
        (-11, "killed by SIGSEGV"),
        (0, "exit code 0"),
        (2, "exit code 2"),
        (10, "exit code 10"),
        (75, "exit code 75"),
    ],
)
def test_only_the_guilty_cell_fails_and_its_record_says_how(run, how, told, where):
    if how == 10 and where == "import":
        pytest.skip("a worker that leaves its cells to another one looks the same")
    executor = Here(how, where)
    failed, done, lines = run(executor)
    assert failed == {"hinton": f"its worker died 3 times without getting further, at last with {told}"}
    assert done == {"none", "mimic", "fitnets"}
    assert [len(methods) for methods in executor.workers][:2] == [4, 2]
    assert executor.workers.count(["hinton"]) == 2
    assert f"{told}; its 4 cells are run again in halves" in lines[0]


def test_where_the_teacher_kills_its_worker_no_cell_is_tried_alone(run):
    executor = Here(-9, "teacher")
    failed, done, _ = run(executor)
    assert set(failed) == {"none", *METHODS}
    assert not done
    assert [len(methods) for methods in executor.workers] == [4, 4, 4]


def test_a_death_by_chance_costs_nothing_but_time(run):
    failed, done, _ = run(Here(-9, deaths=2))
    assert (failed, done) == ({}, {"none", *METHODS})


def test_a_signal_without_a_name_has_its_number():
    assert Ended.process("1", -40) == Ended("1", None, "killed by signal 40")
