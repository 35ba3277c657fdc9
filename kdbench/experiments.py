"""The functions of :mod:`kdbench` that train and measure."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is not needed to print the help
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Literal

    from kdbench.results.record import Record
    from kdbench.runs.progress import LineConsole
    from kdbench.runs.status import LineView
    from kdbench.runs.sweep import SweepResult
    from kdbench.specs import Precision
    from kdbench.tuning.study import Study


def run(
    method: str,
    dataset: str = "",
    *,
    benchmark: str | Path | None = None,
    pair: str | None = None,
    seed: int = 0,
    schedule: Literal["default", "smoke"] = "default",
    teacher: str | None = None,
    student: str | None = None,
    teacher_checkpoints: Sequence[str | Path] = (),
    settings: Sequence[str] = (),
    from_scratch: bool = False,
    device: str | None = None,
    precision: Precision = "fp32",
    data_root: str | Path | None = None,
    results: str | Path = "results",
    work_dir: str | Path = "out/runs",
    workers: int | None = None,
    step_limit: float | None = None,
    visualizers: Sequence[str] = (),
    download: bool = False,
    force: bool = False,
    rerun: bool = False,
    rehash: bool = False,
    console: LineConsole | None = None,
) -> Record:
    """Train, distil and evaluate one method on one dataset, in this process.

    The teacher and the plain student are trained too if they have no records yet. A cell that has a finished
    record is not run again.

    Args:
        method: Selector of the method, such as ``mimic`` or ``hinton[temperature=4]``, or a sum, ``cwd+mgd``.
        dataset: Name of the dataset.
        benchmark: A benchmark file that names the dataset, or defines it and its pairs.
        pair: Name of the teacher-student pair; default: the benchmark's or the dataset's first.
        seed: Random seed, at least 0.
        schedule: ``smoke`` runs a handful of iterations of everything, and is never ranked.
        teacher: Config of another teacher: a file, ``mmdet::...`` or ``mmseg::...``; or a feature teacher,
            ``timm:NAME``, with the setting ``teacher.out_indices``.
        student: Config of another student.
        teacher_checkpoints: Weights of the teacher, one for each member of an ensemble: a file, a URL, or
            ``mmdet::NAME`` or ``mmseg::NAME`` in OpenMMLab's model zoos; if empty, the teacher is trained.
        settings: Changes to the pair, each ``SECTION.KEY=VALUE``, such as ``schedule.iterations=500`` or
            ``student.backbone.depth=34``; ``inherit=true`` starts the students from the teacher's neck and heads.
        from_scratch: Ignore the initial weights that the pair's configs name.
        device: ``cpu``, or the type of torch's accelerator, such as ``cuda``; default: the accelerator if there is
            one.
        precision: ``fp32``, or mixed precision with ``fp16`` (a GPU) or ``bf16`` (any device).
        data_root: Folder of the datasets; default: ``KDBENCH_DATA``, else ``data``.
        results: Folder of the records.
        work_dir: Folder of checkpoints, logs and exported students.
        workers: Data loading processes; default: 0 on a CPU, else one fewer than there are cores, at most 8.
        step_limit: Seconds that one iteration may take before the run fails; default: no limit.
        visualizers: Additional visualisation backends of mmengine, such as ``TensorboardVisBackend``.
        download: Fetch initial weights and checkpoints that are not on this machine.
        force: Continue although a gate failed; the record says so.
        rerun: Run a cell again although it has a finished record, and replace the record.
        rehash: Hash every file of the dataset again, ignoring the index of hashes.
        console: Receives progress; default: the logger ``kdbench``, at level INFO.

    Returns:
        The record of the method's cell. Its ``score`` is the ranking metric, in [0, 1].

    Raises:
        kdbench.errors.ArgumentError: If an argument is invalid.
        kdbench.errors.UserError: If a name is unknown, data is missing, or a gate fails.
        kdbench.errors.RunError: If a training failed; its ``record`` says why.
        KeyboardInterrupt: If the run is interrupted; the same call continues from the last checkpoint.
    """
    from pathlib import Path

    from kdbench.devices import choose
    from kdbench.errors import checking_arguments
    from kdbench.runs.launch import processes
    from kdbench.runs.progress import LineConsole
    from kdbench.runs.request import Request
    from kdbench.runs.run import run
    from kdbench.runs.settings import RunSettings
    from kdbench.threads import wait_well

    wait_well()
    with checking_arguments():
        request = Request(
            method=method,
            dataset=dataset,
            pair=pair,
            seed=seed,
            schedule=schedule,
            teacher=teacher,
            student=student,
            teacher_checkpoints=tuple(map(str, teacher_checkpoints)),
            settings=tuple(settings),
            precision=precision,
            device=choose(device),
            processes=processes(),
            from_scratch=from_scratch,
            data_root=None if data_root is None else Path(data_root),
            benchmark=None if benchmark is None else Path(benchmark),
            download=download,
        )
        where = RunSettings(
            work_dir=Path(work_dir),
            results=Path(results),
            workers=workers,
            step_limit=step_limit,
            visualizers=tuple(visualizers),
            download=download,
            force=force,
            rerun=rerun,
        )
    return run(request, where, console or LineConsole(), rehash=rehash)


def sweep(
    *files: str | Path,
    methods: str | Sequence[str] | None = None,
    datasets: str | Sequence[str] | None = None,
    pairs: str | Sequence[str] | None = None,
    seeds: str | Sequence[int] | None = None,
    schedule: Literal["default", "smoke"] | None = None,
    settings: Sequence[str] = (),
    dry_run: bool = False,
    retry_failed: bool = False,
    max_lanes: int | None = None,
    share_teacher: bool = True,
    executor: str = "local",
    slots: int | None = None,
    device: str | None = None,
    precision: Precision = "fp32",
    data_root: str | Path | None = None,
    results: str | Path = "results",
    work_dir: str | Path = "out/runs",
    workers: int | None = None,
    step_limit: float | None = None,
    download: bool = False,
    force: bool = False,
    rerun: bool = False,
    rehash: bool = False,
    view: LineView | None = None,
) -> SweepResult:
    """Run methods x datasets x pairs x seeds in worker processes. Cells with a finished record are not run again.

    Args:
        files: Benchmark files; if there are none, ``methods`` and ``datasets`` say what to run.
        methods: Selectors, or a string that lists them as on the command line:
            ``"none,fine-grained[variant=I,G]"``.
        datasets: Names, or a comma-separated string.
        pairs: Names, or a comma-separated string; default: the first of each dataset.
        seeds: Numbers, such as ``range(3)``, or ``"0..2"``; default: 0.
        schedule: ``smoke`` runs a handful of iterations of everything, and is never ranked; default: the files'.
        settings: Changes to all pairs, see :func:`run`; applied after the ``set`` of the files.
        dry_run: Only determine what would run; see ``plan`` of the result.
        retry_failed: Run failed cells again.
        max_lanes: Maximum number of students that train side by side in one worker, at least 1; default: no limit.
        share_teacher: Train students with the same teacher side by side.
        executor: Where workers run, such as ``ray[address=auto]`` or ``slurm[partition=gpu,time=120]``.
        slots: Number of workers at once, at least 1; default: as many as a GPU has room for, or one per CPU core.
        device: See :func:`run`; required if workers run on other machines.
        precision: See :func:`run`.
        data_root: See :func:`run`.
        results: See :func:`run`.
        work_dir: See :func:`run`.
        workers: Data loading processes of each worker, see :func:`run`.
        step_limit: See :func:`run`.
        download: See :func:`run`.
        force: See :func:`run`.
        rerun: See :func:`run`.
        rehash: See :func:`run`.
        view: Receives progress; default: the logger ``kdbench``, at level INFO.

    Returns:
        The records of all finished cells, and the failures. After a KeyboardInterrupt ``stopped`` is true: the
        workers have written checkpoints, from which the same call continues.

    Raises:
        kdbench.errors.ArgumentError: If an argument is invalid, or two contradict each other.
        kdbench.errors.UserError: If a name is unknown or data is missing.
    """
    from pathlib import Path

    from kdbench.errors import checking_arguments
    from kdbench.executors.select import device_of
    from kdbench.runs.asked import benchmarks_of
    from kdbench.runs.request import Request
    from kdbench.runs.settings import RunSettings
    from kdbench.runs.status import LineView
    from kdbench.runs.sweep import result_before, run_sweep
    from kdbench.runs.sweep_plan import plan_sweep

    benchmarks = benchmarks_of(
        [Path(file) for file in files],
        methods=methods,
        datasets=datasets,
        pairs=pairs,
        seeds=seeds,
        schedule=schedule,
    )
    used = device_of(device, executor)
    with checking_arguments():
        like = Request(
            method="",
            dataset="",
            settings=tuple(settings),
            precision=precision,
            device=used,
            data_root=None if data_root is None else Path(data_root),
            download=download,
        )
        where = RunSettings(
            work_dir=Path(work_dir),
            results=Path(results),
            workers=workers,
            step_limit=step_limit,
            download=download,
            force=force,
            rerun=rerun,
        )
    plan = plan_sweep(
        benchmarks,
        like,
        where,
        retry_failed=retry_failed,
        max_lanes=max_lanes,
        share_teacher=share_teacher,
        rehash=rehash,
    )
    if dry_run:
        return result_before(plan)
    return run_sweep(plan, where, view or LineView(), executor=executor, slots=slots, device=used)


def evaluate(
    model: str,
    dataset: str,
    checkpoint: str | Path,
    *,
    device: str | None = None,
    data_root: str | Path | None = None,
    results: str | Path = "results",
    work_dir: str | Path = "out/runs",
    workers: int | None = None,
    download: bool = False,
    rerun: bool = False,
    rehash: bool = False,
) -> Record:
    """Evaluate given weights on a dataset's test split, without training anything.

    Images are resized according to the config's ``test_pipeline``. The result is shown below the dataset's
    leaderboards and takes no part in a ranking.

    Args:
        model: Name of a model (``kdbench list models``), or a config: a file, ``mmdet::...`` or ``mmseg::...``.
        dataset: Name of the dataset.
        checkpoint: The weights, as ``teacher_checkpoints`` of :func:`run`. The config's ``revise_keys`` renames
            foreign names.
        device: See :func:`run`.
        data_root: See :func:`run`.
        results: See :func:`run`.
        work_dir: Folder of the logs.
        workers: See :func:`run`.
        download: See :func:`run`.
        rerun: Evaluate again although there is a record, and replace it.
        rehash: See :func:`run`.

    Returns:
        The record; its ``score`` is the ranking metric of the dataset, in [0, 1].

    Raises:
        kdbench.errors.ArgumentError: If an argument is invalid.
        kdbench.errors.UserError: If a name is unknown, data is missing, or the file lacks weights of the model.
    """
    from pathlib import Path

    from kdbench.devices import choose
    from kdbench.errors import checking_arguments
    from kdbench.runs.evaluation import evaluate
    from kdbench.runs.settings import RunSettings

    with checking_arguments():
        used = choose(device)
        where = RunSettings(work_dir=Path(work_dir), results=Path(results), workers=workers, rerun=rerun)
        root = None if data_root is None else Path(data_root)
    return evaluate(
        model,
        dataset,
        str(checkpoint),
        where,
        device=used,
        data_root=root,
        download=download,
        rehash=rehash,
    )


def tune(
    method: str,
    dataset: str,
    *,
    trials: int,
    pair: str | None = None,
    seed: int = 0,
    schedule: Literal["default", "smoke"] = "default",
    device: str | None = None,
    precision: Precision = "fp32",
    data_root: str | Path | None = None,
    results: str | Path = "results",
    work_dir: str | Path = "out/runs",
    workers: int | None = None,
    download: bool = False,
    force: bool = False,
    console: LineConsole | None = None,
) -> Study:
    """Search a method's options on validation images, never on the test split.

    The first trial has the given options; Optuna's TPE sampler proposes the others. No model of the study is
    trained on the validation images. A trial that has ended is not run again.

    Args:
        method: Selector of the method. The options in it are fixed.
        dataset: Name of the dataset.
        trials: Number of trials, at least 1, including failed ones.
        pair: Name of the teacher-student pair; default: the dataset's first.
        seed: Seed of the trainings and of the sampler, at least 0.
        schedule: ``smoke`` runs a handful of iterations per trial, to see whether it works.
        device: See :func:`run`.
        precision: See :func:`run`.
        data_root: See :func:`run`.
        results: Folder of the records; the study is a JSON file in ``tuning`` below it.
        work_dir: Folder of checkpoints, logs and the records of the trials.
        workers: See :func:`run`.
        download: See :func:`run`.
        force: See :func:`run`.
        console: See :func:`run`.

    Returns:
        The study. Its ``best()`` is the best trial, whose ``selector`` can be run, or None if every trial failed.

    Raises:
        kdbench.errors.ArgumentError: If an argument is invalid.
        kdbench.errors.UserError: If a name is unknown, data or Optuna is missing, there is nothing to search, or
            another process runs this study.
        kdbench.errors.RunError: If the training of the teacher or the plain student failed.
        KeyboardInterrupt: If the study is interrupted; the same call continues from the last checkpoint.
    """
    from pathlib import Path

    from kdbench.devices import choose
    from kdbench.errors import checking_arguments
    from kdbench.runs.progress import LineConsole
    from kdbench.runs.request import Request
    from kdbench.runs.settings import RunSettings
    from kdbench.tuning.search import tune

    with checking_arguments():
        request = Request(
            method=method,
            dataset=dataset,
            pair=pair,
            seed=seed,
            schedule=schedule,
            precision=precision,
            device=choose(device),
            data_root=None if data_root is None else Path(data_root),
        )
        where = RunSettings(
            work_dir=Path(work_dir), results=Path(results), workers=workers, download=download, force=force
        )
    return tune(request, where, console or LineConsole(), trials=trials)
