"""``kdbench reproduce``: run a row again, from nothing, and say whether it agrees."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.cli import options
from kdbench.cli.screen import echo
from kdbench.errors import UserError

if TYPE_CHECKING:
    from kdbench.results.record import Record
    from kdbench.results.reproduce import Agreement
    from kdbench.results.store import Store
    from kdbench.runs.plan import Plan
    from kdbench.runs.request import Request
    from kdbench.runs.settings import RunSettings
    from kdbench.runs.training import Console
    from kdbench.specs import Pair, TeacherSpec

FOLDER = "reproduced"
"""Folder under the runs' where rows are run again."""
SECTIONS = ("schedule", "teacher_schedule")
MODELS = ("student", "teacher")


@click.command("reproduce")
@click.argument("row")
@click.option("--dataset", metavar="NAME", help="Dataset, where ROW is a selector.")
@click.option("--pair", metavar="NAME", help="Teacher-student pair, where ROW is a selector.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of the row; default: ROW's own, or the lowest."
)
@options.results("Folder of the records; nothing is written there.")
@options.work_dir("Folder of the runs: a teacher with the recorded weights is taken from it.")
@options.root
@options.device
@options.download
@options.teacher_checkpoints
@click.option(
    "--benchmark",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Benchmark file that defines the row's dataset or pair.",
)
@click.option(
    "--anyway", is_flag=True, help="Run even if the code, a plugin or the data differ from the record."
)
def command(row: str, **values: Any) -> int:
    """Run ROW again and say whether it agrees (exit code 0) or not (1).

    ROW is a record's file, the first digits (at least 6) of its identity, or a method with --dataset and --pair.
    On the CPU of the same kind of machine the numbers must be identical; elsewhere they must be within the noise,
    which is the spread over the row's seeds.
    """
    from kdbench.benchmarks import load
    from kdbench.cli.progress import TerminalConsole
    from kdbench.results.reproduce import judge, noise_of
    from kdbench.results.store import Store
    from kdbench.runs.launch import start
    from kdbench.runs.plan import plan

    if values["benchmark"] is not None:
        load(values["benchmark"])
    console, store = TerminalConsole(), Store(values["results"])
    records = store.records()[0]
    then = recorded(row, records, values)
    planned = plan(request_of(then, values))
    changed = not_as_then(then, planned, store)
    if changed:
        refuse_or_tell(changed, values["anyway"])
    start(planned.cell.device, planned.dataset)
    settings = settings_of(planned, values)
    reuse(then, planned, store, values["work_dir"], settings, console)
    now = again(planned, settings, console)
    verdict = judge(then, now, noise_of(then, records), same_spec=not changed)
    show(then, now, verdict)
    if verdict.agrees:
        shutil.rmtree(settings.work_dir, ignore_errors=True)
    else:
        echo(f"run       {settings.work_dir}")
    return 0 if verdict.agrees else 1


def recorded(row: str, records: list[Record], values: Mapping[str, Any]) -> Record:
    """Return the record of the row. Raises UserError where there is none, or it has no result."""
    from kdbench.cli.export import read
    from kdbench.results.reproduce import at_seed, find_row

    if Path(row).is_file():
        return at_seed(read(Path(row)), records, values["seed"])
    return find_row(row, records, values["dataset"], values["pair"], values["seed"])


def request_of(then: Record, values: Mapping[str, Any]) -> Request:
    """Return what has to be asked for to run a record's cell again, its own models and settings included.

    Args:
        then: The record.
        values: The command's options.
    """
    from kdbench.devices import choose
    from kdbench.plugins import registry
    from kdbench.runs.request import Request, overridden
    from kdbench.specs import Pair

    request = Request(
        method=then.selector,
        dataset=then.dataset,
        pair=then.pair_name,
        seed=then.seed,
        schedule="smoke" if then.schedule == "smoke" else "default",
        teacher_checkpoints=values["teacher_checkpoints"],
        precision=then.precision,
        device=choose(values["device"] or then.device_class),
        data_root=values["root"],
        benchmark=values["benchmark"],
        download=values["download"],
    )
    if then.schedule == "default":
        return request
    pair, wanted = registry().pair(then.pair_name).value, Pair.model_validate(then.spec["pair"])
    own: dict[str, Any] = {
        role: getattr(wanted, role).config
        for role in MODELS
        if getattr(wanted, role).config != getattr(pair, role).config
    }
    request = replace(request, from_scratch=pair.pretrained and not wanted.pretrained, **own)
    return replace(request, settings=tuple(changes(overridden(pair, request), wanted)))


def changes(pair: Pair, wanted: Pair) -> Iterator[str]:
    """Return the ``--set`` options that turn a pair into the wanted one, as far as they can."""
    import yaml

    now, then = pair.model_dump(mode="json"), wanted.model_dump(mode="json")
    parts = [(name, now[name], then[name]) for name in SECTIONS]
    parts += [(name, now[name]["edits"], then[name]["edits"]) for name in MODELS]
    if pair.inherit != wanted.inherit:
        yield f"inherit={str(wanted.inherit).lower()}"
    for name, there, due in parts:
        for key, value in due.items():
            if key not in there or there[key] != value:
                text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
                text = text.removesuffix("...\n").strip()
                yield f"{name}.{key}={text}"


def not_as_then(then: Record, planned: Plan, store: Store) -> list[str]:
    """List what the present code, plugins and data would run differently, a line for each key."""
    from kdbench.results.reproduce import differences
    from kdbench.runs.plan import stored
    from kdbench.specs import unlabelled

    found = differences(unlabelled(then.spec), unlabelled(stored(planned.cell)))
    teacher = planned.staged or planned.teacher
    if then.teacher_identity != planned.cell.teacher and then.teacher_identity and teacher:
        before = store.find(then.teacher_identity)
        found += [] if before is None else differences(before.spec, stored(teacher), "its teacher's ")
    return found


def refuse_or_tell(changed: list[str], anyway: bool) -> None:
    """Say what differs. Raises UserError unless it is to be run anyway."""
    for line in changed:
        echo(f"differs: {line}", err=True)
    if not anyway:
        raise UserError(
            "what would run here is not what was recorded (see above): install that version, restore the data or "
            "give the teacher's checkpoint, or compare all the same with --anyway."
        )


def settings_of(planned: Plan, values: Mapping[str, Any]) -> RunSettings:
    """Return settings with a store and a work directory of their own: only an interrupted reproduction resumes."""
    from kdbench.results.store import Store
    from kdbench.runs.settings import RunSettings, run_folder

    identity = planned.cell.identity()
    folder = run_folder(values["work_dir"] / FOLDER, identity)
    if any(record.identity == identity for record in Store(folder).records()[0]):
        shutil.rmtree(folder)  # that one ended
    return RunSettings(work_dir=folder, results=folder, download=values["download"])


def reuse(
    then: Record, planned: Plan, store: Store, work_dir: Path, settings: RunSettings, console: Console
) -> None:
    """Take what is not to be reproduced: the plain student's record, and a teacher with the recorded weights."""
    from kdbench.runs.sweep_records import weights_of

    teacher = planned.staged or planned.teacher
    plain = store.find(planned.plain.identity())
    if plain is not None and planned.cell != planned.plain:
        settings.store.write(plain)
    if teacher is None:
        return
    if teacher.checkpoint is not None or teacher.model.gives_features:
        console.say("teacher: as it was given")
        return
    record, source = store.find(teacher.identity()), settings.model_copy(update={"work_dir": work_dir})
    why = "its record or weights are not here"
    weights = weights_of(work_dir, teacher)
    if record is not None and weights.is_file():
        why = "the weights here are not the recorded ones"
        if then.teacher is not None and hash_of(teacher, planned, source) == then.teacher.weights_sha256:
            target = weights_of(settings.work_dir, teacher)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(weights, target)
            settings.store.write(record)
            console.say(f"teacher: taken from {weights}, which has the recorded weights")
            return
    console.say(f"teacher: trained too ({why})")


def hash_of(teacher: TeacherSpec, planned: Plan, settings: RunSettings) -> str:
    """Hash of a teacher's weights, as records have it."""
    from kdbench.openmmlab.students import load_teacher
    from kdbench.openmmlab.weights.checkpoints import weights_hash
    from kdbench.runs.cells import subject_of
    from kdbench.runs.sweep_records import weights_of

    subject = subject_of(teacher, planned, settings)
    loaded = load_teacher(subject, weights_of(settings.work_dir, teacher), lambda _failed: None)
    return weights_hash(loaded.model)


def again(planned: Plan, settings: RunSettings, console: Console) -> Record:
    """Run the cell; a training that fails gives its failed record."""
    from kdbench.errors import RunError
    from kdbench.runs.session import Session

    try:
        with contextlib.redirect_stdout(sys.stderr):  # libraries print, and stdout is for the result
            return Session(planned, settings, console).run()
    except RunError as failed:
        echo(f"failed: {failed}", err=True)
        return failed.record


def show(then: Record, now: Record, verdict: Agreement) -> None:
    """Both results and the verdict."""
    echo(f"row       {then.selector} on {then.pair_name}, seed {then.seed} ({then.identity[:12]})")
    for name, record in (("then", then), ("now", now)):
        value = record.status if record.score is None else f"{record.metric} {100 * record.score:.2f}"
        echo(f"{name:<10}{value}, {record.device}, {record.host_class}")
    if then.teacher is not None and now.teacher is not None:
        same = "the same" if then.teacher.weights_sha256 == now.teacher.weights_sha256 else "other"
        values = "not measured"
        if then.teacher.value is not None and now.teacher.value is not None:
            values = f"{then.metric} {100 * then.teacher.value:.2f} then, {100 * now.teacher.value:.2f} now"
        echo(f"teacher   {same} weights ({values})")
    echo(f"{'agrees' if verdict.agrees else 'disagrees'}: {verdict.why}")
