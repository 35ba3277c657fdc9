"""Claims among real processes, some of which die."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdbench.errors import UserError
from kdbench.runs.claims import ClaimFile, Claims
from kdbench.runs.claims_owner import Owner

ONE, TWO = "1" * 64, "2" * 64

HOLD = """
import sys, time
from pathlib import Path
from kdbench.runs.claims import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take(sys.argv[2]), flush=True)
time.sleep(60)
"""

RACE = """
import os, sys, time
from pathlib import Path
from kdbench.runs.claims import Claims
from kdbench.runs.claims_owner import start_of
results, rounds = Path(sys.argv[1]), int(sys.argv[2])
with Claims(results) as claims:
    for number in range(rounds):
        identity = f"{number:064d}"
        done, marker = results / f"{number}.done", results / f"{number}.running"
        while not done.exists():
            if not claims.take(identity):
                time.sleep(0.001)
                continue
            if not done.exists():
                if marker.exists():
                    pid = int(marker.read_text() or 0)
                    assert not pid or start_of(pid) in ("", "ended"), f"{pid} runs it too"
                marker.write_text(str(os.getpid()))
                with open(results / f"{number}.ran", "a") as file:
                    file.write(f"{os.getpid()}\\n")
                time.sleep(0.002)
                done.touch()
            claims.release(identity, done=True)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def left_by(results: Path, owner: Owner, identity: str = ONE) -> Path:
    """A claim as another process left it."""
    file = results / ".claims" / f"{identity}.0"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(ClaimFile(owner=owner).model_dump_json())
    return file


def elsewhere() -> Owner:
    return Owner(host="elsewhere", kernel="x", pid=1, started="1", token="t")


def test_one_holder_until_it_lets_go(tmp_path):
    with Claims(tmp_path) as first, Claims(tmp_path) as second:
        assert first.take(ONE)
        assert first.take(ONE)
        assert not second.take(ONE)
        assert second.take(TWO)
        assert second.holder(ONE) == first.owner
        first.release(ONE)
        assert second.holder(ONE) is None
        assert second.take(ONE)
        assert not first.take(ONE)
    assert Claims(tmp_path).holder(ONE) is None


def test_what_is_done_leaves_no_files(tmp_path):
    for _ in range(3):
        with Claims(tmp_path) as claims:
            assert claims.take(ONE)
    with Claims(tmp_path) as claims:
        assert claims.take(ONE)
        claims.release(ONE, done=True)
    assert [path.name for path in (tmp_path / ".claims").iterdir()] == [".gitignore"]


def test_a_killed_owner_is_seen_at_once(tmp_path):
    with start(HOLD, tmp_path, ONE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with Claims(tmp_path) as claims:
            assert not claims.take(ONE)
            process.kill()
            process.wait()
            assert claims.holder(ONE) is None
            assert claims.take(ONE)


def test_a_zombie_is_dead(tmp_path):
    with start(HOLD, tmp_path, ONE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        if not Path("/proc/self/stat").exists():
            pytest.skip("this system does not tell a zombie from a living process")
        assert Claims(tmp_path).holder(ONE) is None


def test_another_process_of_the_same_number_is_no_owner(tmp_path):
    if not Owner.here().started:
        pytest.skip("this system does not tell when a process began")
    left_by(tmp_path, Owner.here().model_copy(update={"started": "1"}))
    assert Claims(tmp_path).holder(ONE) is None


def test_another_hosts_owner_is_gone_when_its_heartbeat_is_old(tmp_path):
    file = left_by(tmp_path, elsewhere())
    claims = Claims(tmp_path, stale=60)
    assert claims.holder(ONE) == elsewhere()
    assert not claims.take(ONE)
    old = time.time() - 61
    os.utime(file, (old, old))
    assert claims.holder(ONE) is None
    assert claims.take(ONE)


def test_a_claim_of_another_kdbench_is_held_until_its_heartbeat_is_old(tmp_path):
    file = left_by(tmp_path, elsewhere())
    file.write_text('{"owner": {"node": "n7", "job": 12}}')
    claims = Claims(tmp_path, stale=60)
    assert not claims.take(ONE)
    assert claims.holder(ONE).title == "a process of another kdbench"
    old = time.time() - 61
    os.utime(file, (old, old))
    assert claims.take(ONE)


def test_a_holder_touches_its_claim_and_hears_when_it_is_lost(tmp_path):
    told = []
    with Claims(tmp_path, lambda: told.append(1), heartbeat=0.01) as claims:
        claims.take(ONE)
        file = tmp_path / ".claims" / f"{ONE}.0"
        os.utime(file, (1, 1))
        wait_for(lambda: file.stat().st_mtime > 1)
        assert not told
        (tmp_path / ".claims" / f"{ONE}.1").write_text(ClaimFile(owner=elsewhere()).model_dump_json())
        wait_for(lambda: told)
    assert told == [1]
    assert Claims(tmp_path).holder(ONE) == elsewhere()


def test_of_many_takers_of_a_dead_claim_one_wins(tmp_path):
    dead = subprocess.Popen(["true"])
    owner = Owner.here().model_copy(update={"pid": dead.pid})
    dead.wait()
    for number in range(20):
        left_by(tmp_path, owner, f"{number:064d}")
    takers = [start(RACE, tmp_path, 20) for _ in range(4)]
    assert [taker.wait(60) for taker in takers] == [0] * 4
    assert [len((tmp_path / f"{n}.ran").read_text().split()) for n in range(20)] == [1] * 20


def test_killed_at_random_moments_nothing_is_held_twice_or_left_undone(tmp_path):
    rounds, draw = 60, random.Random(0)
    takers = [start(RACE, tmp_path, rounds) for _ in range(3)]
    for _ in range(12):
        time.sleep(draw.uniform(0, 0.1))
        victim = draw.randrange(3)
        if takers[victim].poll() is None:
            takers[victim].send_signal(signal.SIGKILL)
        code = takers[victim].wait()
        assert code in (0, -signal.SIGKILL)
        takers[victim] = start(RACE, tmp_path, rounds)
    assert [taker.wait(60) for taker in takers] == [0] * 3
    assert all((tmp_path / f"{number}.done").exists() for number in range(rounds))


def test_a_folder_that_cannot_be_written_is_a_mistake(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match="cannot write claims in"):
        Claims(tmp_path / "results").take(ONE)


def wait_for(condition) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
