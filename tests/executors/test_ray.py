"""Sweeps of fake trainings on a real Ray cluster of several nodes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lacking
import psutil
import pytest
from sweep_support import Told, begun, claims_left, results, sweep_of, wait_for

from kdbench.errors import UserError
from kdbench.executors.base import Ended, Resources
from kdbench.executors.select import executor_of
from kdbench.runs import progress as worker_progress

ray = lacking.extra("ray", 'needs Ray: pip install "kdbench[ray]"')

ONE_CORE = Resources(gpus=0, cores=1)
PATIENT = """
import signal, sys, time
def stop(number, frame):
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("up", flush=True)
time.sleep(100)
"""
DRIVER = """
import sys, time
from pathlib import Path
from kdbench.executors.select import executor_of
executor = executor_of(f"ray[address={sys.argv[1]}]", None, "cpu")
executor.submit([sys.executable, "-c", sys.argv[2]], executor.resources, Path(sys.argv[3]))
time.sleep(100)
"""


@pytest.fixture(scope="module")
def made():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    system = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 200,
        "health_check_failure_threshold": 3,
    }
    head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False, "_system_config": system}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(made):
    """A head without cores and two nodes with one core each, one of which claims to have a GPU."""
    while len(made.worker_nodes) < 2:
        gpus = [node._ray_params.num_gpus for node in made.worker_nodes]
        made.add_node(num_cpus=1, num_gpus=0 if 1 in gpus else 1)
    return made


@pytest.fixture
def shared_gpu(made):
    """Address of the cluster, whose only node with cores has six of them and claims to have a GPU."""
    for node in list(made.worker_nodes):
        made.remove_node(node)
    node = made.add_node(num_cpus=6, num_gpus=1)
    yield made.address
    made.remove_node(node)


@pytest.fixture
def executor(cluster):
    executor = executor_of(f"ray[address={cluster.address}]", None, "cpu")
    yield executor
    if ray.is_initialized():
        executor.close()


def start(executor, log: Path, code: str, *arguments: str, resources: Resources = ONE_CORE) -> str:
    return executor.submit([sys.executable, "-c", code, *arguments], resources, log)


def ended(executor, count: int = 1) -> list[Ended]:
    found: list[Ended] = []
    wait_for(lambda: found.extend(executor.wait(1.0)) or len(found) >= count)
    return found


def test_what_the_cluster_has_is_what_workers_get(cluster, tmp_path):
    executor = executor_of(f"ray[address={cluster.address}]", None, None)
    assert (executor.slots, executor.resources) == (1, Resources(gpus=1, cores=1))
    show = "import os; print(*(os.environ[name] for name in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS')))"
    start(executor, tmp_path / "log", show, resources=executor.resources)
    assert [worker.code for worker in ended(executor)] == [0]
    assert (tmp_path / "log").read_text() == "0 1\n"
    executor.close()
    on_cores = executor_of(f"ray[address={cluster.address}]", None, "cpu")
    assert (on_cores.slots, on_cores.resources) == (2, ONE_CORE)
    on_cores.close()


@pytest.mark.parametrize(("slots", "share"), [(2, 0.5), (3, 0.3333), (6, 0.1666)])
def test_more_slots_than_gpus_share_them(shared_gpu, tmp_path, slots, share):
    executor = executor_of(f"ray[address={shared_gpu}]", slots, None)
    assert (executor.slots, executor.resources) == (slots, Resources(gpus=share, cores=6 // slots))
    meet = (
        "import os, sys, time, pathlib; folder = pathlib.Path(sys.argv[1]); "
        "(folder / str(os.getpid())).write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        f"while len(list(folder.iterdir())) < {slots}: time.sleep(0.01)"
    )
    (tmp_path / "there").mkdir()
    for _ in range(slots):
        start(executor, tmp_path / "log", meet, str(tmp_path / "there"), resources=executor.resources)
    assert [worker.code for worker in ended(executor, slots)] == [0] * slots
    assert {file.read_text() for file in (tmp_path / "there").iterdir()} == {"0"}
    executor.close()


@pytest.mark.parametrize(
    ("options", "device", "why"),
    [
        ("cores=2", "cpu", r"no node of the Ray cluster has 2 CPU cores: ask for fewer"),
        ("cores=2", None, r"has 2 CPU cores beside a GPU: ask"),
        ("cores=0", None, "greater than or equal to 1"),
        ("nodes=2", None, "ray has no option 'nodes'"),
    ],
)
def test_what_cannot_be_had_is_a_mistake(cluster, options, device, why):
    with pytest.raises(UserError, match=why):
        executor_of(f"ray[address={cluster.address},{options}]", None, device)
    ray.shutdown()


def test_no_cluster_there_is_a_mistake():
    with pytest.raises(UserError, match=r"no Ray cluster at 127\.0\.0\.1:1: "):
        executor_of("ray[address=127.0.0.1:1]", None, "cpu")


def test_codes_signals_and_what_cannot_be_started(executor, tmp_path):
    log = tmp_path / "log"
    handles = [
        start(executor, log, "raise SystemExit(3)"),
        start(executor, log, "import os; os.kill(os.getpid(), 9)"),
        executor.submit(["no-such-program"], ONE_CORE, log),
    ]
    told = {worker.handle: (worker.code, worker.how) for worker in ended(executor, 3)}
    assert told[handles[0]] == (3, "exit code 3")
    assert told[handles[1]] == (None, "killed by SIGKILL")
    assert told[handles[2]][0] is None
    assert "FileNotFoundError" in told[handles[2]][1]


def test_asked_to_end_killed_and_taken_from_the_queue(executor, tmp_path):
    logs = [tmp_path / name for name in "abc"]
    handles = [start(executor, log, PATIENT) for log in logs]
    wait_for(lambda: sum(log.exists() and log.read_text() == "up\n" for log in logs) == 2)
    up = [handle for handle, log in zip(handles, logs, strict=True) if log.exists()]
    (queued,) = set(handles) - set(up)
    for handle in (queued, up[0]):
        executor.cancel(handle, now=False)
    executor.cancel(up[1], now=True)
    codes = {worker.handle: worker.code for worker in ended(executor, 3)}
    assert codes == {queued: None, up[0]: 75, up[1]: None}
    assert sum(log.exists() for log in logs) == 2


def test_workers_of_a_killed_driver_end(cluster, tmp_path):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"
    log = tmp_path / "log"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, cluster.address, code, str(log)])
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
    worker = psutil.Process(int(log.read_text()))
    assert worker.is_running()
    driver.kill()
    driver.wait()
    wait_for(lambda: not worker.is_running())


def test_stopped_by_ctrl_c_and_gone_on_with_while_a_node_is_lost(
    cluster, tmp_path, small_digits, local_records
):
    address = f"ray[address={cluster.address}]"
    view = Told()
    stopper = threading.Thread(target=stop, args=(tmp_path,))
    stopper.start()
    assert not sweep_of(tmp_path, small_digits, executor_of(address, None, "cpu"), view, mode="gate").run()
    stopper.join()
    assert view.lines == ["stopping: workers write their checkpoints; again: stop now"]
    assert not results(tmp_path)

    killer = threading.Thread(target=kill_a_node, args=(cluster, tmp_path))
    killer.start()
    sweep = sweep_of(tmp_path, small_digits, executor_of(address, None, "cpu"), view, mode="gate")
    assert sweep.run()
    killer.join()
    assert len(cluster.worker_nodes) == 1
    assert "lost (ActorDiedError of Ray); started again" in view.lines[1]
    assert not sweep.failures
    assert results(tmp_path) == local_records
    assert set(begun(tmp_path).values()) == {1}
    assert not claims_left(tmp_path)


def stop(folder: Path) -> None:
    wait_for(lambda: list(folder.glob("runs/*/last_checkpoint")))
    os.kill(os.getpid(), signal.SIGINT)


def kill_a_node(cluster, folder: Path) -> None:
    """Kill the node of a worker that has been restarted, then let all trainings finish."""
    old = {told.owner.token for told in progress_in(folder)}
    wait_for(lambda: [told for told in progress_in(folder) if told.training and told.owner.token not in old])
    (told,) = [told for told in progress_in(folder) if told.owner.token not in old]
    above = {process.pid for process in psutil.Process(told.owner.pid).parents()}
    (node,) = [n for n in cluster.worker_nodes if n.all_processes["raylet"][0].process.pid in above]
    cluster.remove_node(node, allow_graceful=False)
    time.sleep(1)
    (folder / "go").touch()


def progress_in(folder: Path) -> list[worker_progress.PackProgress]:
    found = [worker_progress.read_progress(place) for place in (folder / "runs" / "packs").glob("*")]
    return [told for told in found if told is not None]
