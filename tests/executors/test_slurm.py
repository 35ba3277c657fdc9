"""Sweeps of fake trainings on a real Slurm, started on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lacking
import pytest
import slurm_cluster
from sweep_support import Told, sweep_of
from test_sweep import begun, claims_left, results, wait_for

from kdbench.errors import UserError
from kdbench.executors.base import Ended, Executor, Resources
from kdbench.executors.select import executor_of

lacking.extra("submitit", 'needs submitit: pip install "kdbench[slurm]"')

ONE_CORE = Resources(gpus=0, cores=1)
PATIENT = """
import os, signal, sys, time
def stop(number, frame):
    print("stopped", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("up", os.environ["OMP_NUM_THREADS"], flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if names := slurm_cluster.absent():
        lacking.skip("programs", f"no {', '.join(names)}: apt-get install slurm-wlm munge")
    running = slurm_cluster.slurm(tmp_path_factory.mktemp("slurm") / "cluster")
    try:
        running.__enter__()
    except RuntimeError as error:
        running.__exit__(None, None, None)
        lacking.skip("programs", str(error))
    yield
    running.__exit__(None, None, None)


@pytest.fixture
def executor(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.executors.slurm.QUERY_EVERY", 0.3)
    made = executor_of(f"slurm[partition=low,time=10,folder={tmp_path}/slurm]", 2, "cpu")
    yield made
    made.close()


def start(executor: Executor, log: Path, seconds: float = 100.0, code: str = PATIENT) -> str:
    return executor.submit([sys.executable, "-c", code, str(seconds)], ONE_CORE, log)


def ended(executor: Executor, count: int = 1) -> list[Ended]:
    found: list[Ended] = []
    wait_for(lambda: found.extend(executor.wait(1.0)) or len(found) >= count)
    return found


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def job_ids() -> list[str]:
    command = ["squeue", "--array", "--noheader", "--format=%i", "--states=PENDING,RUNNING"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_an_array_of_jobs_and_their_codes(executor, tmp_path):
    codes = ["raise SystemExit(3)", "import os; os.kill(os.getpid(), 9)", "print('out')"]
    handles = [start(executor, tmp_path / "log", code=code) for code in codes]
    handles.append(executor.submit(["no-such-program"], ONE_CORE, tmp_path / "log"))
    told = {worker.handle: (worker.code, worker.how) for worker in ended(executor, 4)}
    assert [told[handle] for handle in handles[:3]] == [
        (3, "exit code 3"),
        (None, "killed by SIGKILL"),
        (0, "exit code 0"),
    ]
    assert told[handles[3]][0] is None
    assert "FileNotFoundError" in told[handles[3]][1]
    assert lines(tmp_path / "log") == ["out"]
    assert len(list((tmp_path / "slurm").glob("*_submission.sh"))) == 1


def test_asked_to_end_cancelled_and_taken_from_the_queue(executor, tmp_path):
    logs = [tmp_path / name for name in "abc"]
    handles = [start(executor, log) for log in logs]
    assert not executor.wait(0.1)
    wait_for(lambda: sum(lines(log) == ["up 1"] for log in logs) == 2)
    executor.cancel(handles[2], now=False)
    executor.cancel(handles[0], now=False)
    executor.cancel(handles[1], now=True)
    codes = {worker.handle: worker.code for worker in ended(executor, 3)}
    assert codes[handles[0]] == 75
    assert codes[handles[2]] is None
    assert codes.keys() == set(handles)
    assert not lines(logs[2])
    assert not job_ids()


@pytest.mark.parametrize(
    ("command", "code"), [(["scancel", "--signal=USR2"], 0), (["scancel"], 75)], ids=["time-limit", "by-hand"]
)
def test_at_its_time_limit_a_job_is_queued_again_and_when_cancelled_by_hand_it_is_not(
    executor, tmp_path, command, code
):
    start(executor, tmp_path / "log", seconds=3)
    assert not executor.wait(0.1)
    wait_for(lambda: lines(tmp_path / "log"))
    (job,) = job_ids()
    subprocess.run([*command, job], check=True)
    assert [worker.code for worker in ended(executor)] == [code]
    assert lines(tmp_path / "log") == ["up 1", "stopped", *(["up 1"] if code == 0 else [])]


@pytest.mark.parametrize(
    ("options", "device", "why"),
    [
        ("partition=low", None, "choose cuda, for a GPU a job, or cpu"),
        ("time=0", "cpu", "greater than or equal to"),
        ("nodes=2", "cpu", "slurm has no option 'nodes'"),
    ],
)
def test_mistakes(cluster, options, device, why):
    with pytest.raises(UserError, match=why):
        executor_of(f"slurm[{options}]", None, device)


def test_what_sbatch_refuses_is_a_mistake(cluster, tmp_path):
    executor = executor_of(f"slurm[partition=nowhere,folder={tmp_path}]", None, "cpu")
    start(executor, tmp_path / "log")
    with pytest.raises(UserError, match=r"sbatch refused a job: .*invalid partition"):
        executor.wait(0.1)


def test_no_slurm_here_is_a_mistake(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no sbatch here"):
        executor_of("slurm", None, "cpu")


def test_options_and_a_gpu_are_asked_for(executor, tmp_path):
    assert executor_of("slurm", None, "cuda").resources == Resources(gpus=1, cores=4)
    chosen = f"slurm[partition=low,account=us,qos=fast,memory=1,time=90,cores=2,folder={tmp_path}]"
    executor = executor_of(chosen, None, "cuda")
    assert (executor.slots, executor.resources) == (16, Resources(gpus=1, cores=2))
    show = "import os; print(*(os.environ[name] for name in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS')))"
    executor.submit([sys.executable, "-c", show], executor.resources, tmp_path / "log")
    assert [worker.code for worker in ended(executor)] == [0]
    assert lines(tmp_path / "log") == ["0 2"]
    (script,) = tmp_path.glob("*_submission.sh")
    asked = {line for line in script.read_text().splitlines() if line.startswith("#SBATCH")}
    wanted = (
        "account=us",
        "cpus-per-task=2",
        "gpus-per-node=1",
        "mem=1GB",
        "partition=low",
        "qos=fast",
        "time=90",
    )
    assert {f"#SBATCH --{option}" for option in (*wanted, "requeue")} <= asked


def test_the_workers_of_a_job_share_its_gpu_and_end_with_their_own_codes(executor, tmp_path):
    chosen = f"slurm[partition=low,workers=2,cores=1,folder={tmp_path}/slurm]"
    executor = executor_of(chosen, None, "cuda")
    assert (executor.slots, executor.resources) == (32, Resources(gpus=0.5, cores=1))
    show = "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES']); sys.exit(int(sys.argv[1]))"
    command = [sys.executable, "-c", show]
    logs = [tmp_path / name for name in "abc"]
    handles = [
        executor.submit([*command, str(code)], executor.resources, log) for code, log in enumerate(logs)
    ]
    told = {worker.handle: worker.code for worker in ended(executor, 3)}
    assert [told[handle] for handle in handles] == [0, 1, 2]
    assert [lines(log) for log in logs] == [["0"]] * 3
    (script,) = (tmp_path / "slurm").glob("*_submission.sh")
    asked = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --cpus-per-task=2", "#SBATCH --gpus-per-node=1"} <= set(asked)
    assert any("--array=0-1" in line for line in asked), "two jobs for three workers"


def test_the_workers_of_a_job_stop_and_are_queued_again_together(executor, tmp_path):
    executor = executor_of(f"slurm[partition=low,workers=2,folder={tmp_path}/slurm]", None, "cpu")
    logs = [tmp_path / name for name in "ab"]
    handles = [start(executor, log, seconds=3) for log in logs]
    assert not executor.wait(0.1)
    wait_for(lambda: all(lines(log) for log in logs))
    (job,) = job_ids()
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    assert {worker.handle: worker.code for worker in ended(executor, 2)} == dict.fromkeys(handles, 0)
    assert [lines(log) for log in logs] == [["up 1", "stopped", "up 1"]] * 2
    again = [start(executor, log) for log in logs]
    assert not executor.wait(0.1)
    wait_for(lambda: [len(lines(log)) for log in logs] == [4, 4])
    executor.cancel(again[0], now=False)
    assert {worker.handle: worker.code for worker in ended(executor, 2)} == dict.fromkeys(again, 75)
    assert not job_ids()


def test_stopped_by_ctrl_c_and_gone_on_with_while_jobs_are_preempted(
    executor, tmp_path, small_digits, local_records
):
    view = Told()
    stopper = threading.Thread(target=stop, args=(tmp_path,))
    stopper.start()
    assert not sweep_of(tmp_path, small_digits, executor, view, mode="gate").run()
    stopper.join()
    assert view.lines == ["stopping: workers write their checkpoints; again: stop now"]
    assert not results(tmp_path)
    assert not job_ids()

    preempting = threading.Thread(target=preempt, args=(tmp_path,))
    preempting.start()
    again = executor_of(f"slurm[partition=low,folder={tmp_path}/slurm]", 2, "cpu")
    sweep = sweep_of(tmp_path, small_digits, again, view, mode="gate")
    assert sweep.run()
    preempting.join()
    assert not sweep.failures
    assert len(view.lines) == 1, "a requeued job does not count as the death of a worker"
    assert results(tmp_path) == local_records
    assert set(begun(tmp_path).values()) == {1}
    assert not claims_left(tmp_path)


def stop(folder: Path) -> None:
    wait_for(lambda: list(folder.glob("runs/*/last_checkpoint")))
    os.kill(os.getpid(), signal.SIGINT)


def preempt(folder: Path) -> None:
    """When the first job trains again, occupy the node for a moment; then let all trainings finish."""
    trained = (folder / "log").read_text()
    wait_for(lambda: (folder / "log").read_text() != trained)
    (job,) = job_ids()
    subprocess.run(["srun", "--partition=high", "--exclusive", "--quiet", "sleep", "0"], check=True)
    until = time.monotonic() + 60
    while job not in job_ids():
        assert time.monotonic() < until
    (folder / "go").touch()
