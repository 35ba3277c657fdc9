"""A sweep whose workers claim, checkpoint and record as real ones do, and only pretend to train."""

from __future__ import annotations

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdbench import cli
from kdbench.benchmarks import Benchmark
from kdbench.executors.base import Executor
from kdbench.executors.local import Local
from kdbench.openmmlab.training.run_files import drop_checkpoints, interrupted_at
from kdbench.results.store import Store
from kdbench.runs import claims_owner, provenance, worker
from kdbench.runs.made import is_made
from kdbench.runs.pack import PackOutcome
from kdbench.runs.packs import Item
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings
from kdbench.runs.status import Snapshot
from kdbench.runs.sweep import Sweep
from kdbench.runs.sweep_plan import items_of, plan_sweep
from kdbench.runs.sweep_state import Settled
from kdbench.specs import TeacherSpec

STEPS = 6
TRAININGS, KILLS = 7, 32
"""In the whole sweep: those of a teacher and six students, and how many workers the mode ``killed`` asks for."""


def asked(
    root: Path,
    methods: Sequence[Any] = ("hinton", "mimic"),
    seeds: int = 2,
    pairs: Sequence[str] = ("digits-faster-rcnn",),
) -> tuple[list[Benchmark], Request]:
    values = {"title": "x", "dataset": "digits", "pairs": pairs, "schedule": "smoke"}
    benchmark = Benchmark.model_validate({**values, "methods": methods, "seeds": range(seeds)})
    return [benchmark], Request(method="", dataset="", data_root=root)


def planned(root: Path, *arguments: Any, **changes: Any) -> dict[str, Item]:
    return items_of(*asked(root, *arguments, **changes), RunSettings())


class Told:
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        self.shown: list[Snapshot] = []
        self.done: list[tuple[Settled, Sequence[str]]] = []
        self.lines: list[str] = []

    def show(self, snapshot: Snapshot) -> None:
        self.shown.append(snapshot)

    def settled(self, settled: Settled, lines: Sequence[str]) -> None:
        self.done.append((settled, lines))

    def say(self, line: str) -> None:
        self.lines.append(line)


def sweep_of(
    folder: Path,
    root: Path,
    executor: Executor | None = None,
    view: Any = None,
    mode: str = "",
    lanes: int | None = None,
    rerun: bool = False,
    **changes: Any,
) -> Sweep:
    """A sweep in a folder; ``mode`` is how its workers behave, see ``pretend``."""
    settings = RunSettings(work_dir=folder / "runs", results=folder / "results", rerun=rerun)
    plan = plan_sweep(*asked(root, **changes), settings, retry_failed=True, max_lanes=lanes)
    command = [sys.executable, __file__, "worker", mode]
    return Sweep(
        plan, settings, executor or Local(2, "cpu"), view or Told(), lambda file: [*command, str(file)]
    )


def pretend(plans: Sequence[Any], settings: RunSettings, console: Any, mode: str) -> PackOutcome:
    """Train: teacher, cell, with a checkpoint each second step.

    Modes: ``gate``: the last step of a training waits for a file ``go``; ``killed``: it waits until as large a
    share of the workers was killed as of the sweep is done with it; ``die``: it kills itself at the first step;
    ``lost``: so it does on what seems to be another machine; ``fail``: hinton's cells fail; ``refuse``: they are
    refused; ``slow``: each step takes long; ``disk``: so long that the disk may be full before it ends.
    """
    outcome = PackOutcome()
    folder = settings.work_dir.parent
    for plan in plans:
        if plan.cell.method == "hinton" and mode == "refuse":
            outcome.refused[plan.cell.identity()] = "not with hinton"
            continue
        for spec in filter(None, (plan.teacher, plan.cell)):
            again = settings.rerun and spec == plan.cell
            if is_made(settings, spec) and not again:
                continue
            failed = "a NaN" if mode == "fail" and getattr(spec, "method", "") == "hinton" else None
            steps(spec, settings, console, folder, mode)
            score = int(hashlib.sha256(spec.identity().encode()).hexdigest()[:4], 16) / 65536
            curve = [] if failed else [{"iteration": STEPS, "AP50": score}]
            run = settings.folder(spec)
            record = provenance.record_of(spec, "AP50", run, curve=curve, reason=failed, command=plan.command)
            if isinstance(spec, TeacherSpec):
                settings.weights(spec).touch()
            settings.store.write(record, replace=again)
            drop_checkpoints(run)
            outcome.records.append(record)
    return outcome


def steps(spec: Any, settings: RunSettings, console: Any, folder: Path, mode: str) -> None:
    run = settings.folder(spec)
    run.mkdir(parents=True, exist_ok=True)
    first = interrupted_at(run) or 0
    with (folder / "log").open("a") as log:
        log.write(f"{spec.identity()} {first}\n")
    with console.stage("training", STEPS) as progress:
        for step in range(first, STEPS):
            if mode in ("die", "lost"):
                print("about to die", file=sys.stderr, flush=True)
                sys.stderr.flush()
                raise_signal()
            while mode == "gate" and step == STEPS - 1 and not (folder / "go").exists():
                time.sleep(0.01)
            while mode == "killed" and step == STEPS - 1 and not killed_enough(folder, settings):
                time.sleep(0.01)
            time.sleep({"slow": 5, "killed": 0.1, "disk": 0.1}.get(mode, 0.01))
            progress.advance(step + 1, {})
            if step % 2:
                (run / f"iter_{step + 1}.pth").touch()
                (run / "last_checkpoint").touch()


def killed_enough(folder: Path, settings: RunSettings) -> bool:
    """So that kills meet every training of a sweep."""
    records = len(list(settings.store.root.glob("records/*/*/*.json")))
    return len(list((folder / "killed").iterdir())) * TRAININGS >= min(TRAININGS, records + 1) * KILLS


def raise_signal() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def main(what: str, mode: str, *arguments: str) -> int:
    provenance.host_class = lambda: "pretended"
    provenance.versions = dict
    if what == "sweep":
        sweep = sweep_of(Path(arguments[0]), Path(arguments[1]), mode=mode)
        return 0 if sweep.run() and not sweep.failures else 1
    if mode == "lost":
        claims_owner.kernel = lambda: "elsewhere"
    worker.start = lambda device, dataset: device
    worker.run_pack = lambda plans, settings, console: pretend(plans, settings, console, mode)
    return cli.main(["worker", *arguments])


def results(folder: Path) -> dict[str, dict]:
    """Identity -> record, without when and where it was made."""
    records, broken = Store(folder / "results").records()
    assert not broken
    return {record.identity: record.model_dump(exclude={"made"}) for record in records}


def begun(folder: Path) -> Counter[str]:
    """How often each training was begun from its start."""
    lines = (folder / "log").read_text().splitlines()
    return Counter(line.split()[0] for line in lines if line.endswith(" 0"))


def claims_left(folder: Path) -> list[str]:
    return [path.name for path in (folder / "results" / ".claims").iterdir() if path.name != ".gitignore"]


def wait_for(condition) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
