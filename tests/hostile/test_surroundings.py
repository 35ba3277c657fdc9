"""Surroundings that lack something: one line and exit code 2, or it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from special_files import KINDS, make_special
from sweep_support import planned

from kdbench.cli import main
from kdbench.results.store import Store
from kdbench.runs.claims import Claims
from kdbench.runs.claims_owner import Owner
from kdbench.runs.progress import PackProgress, WorkerConsole
from kdbench.runs.status import Manifest


def one_line(capsys) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("closed", ["stdout", "stderr", "stdin", "stdin stdout stderr"])
def test_closed_streams_are_the_null_device(tmp_path, closed):
    """What is printed must not go into the next file that is opened."""
    script = f"""
import os, sys
from pathlib import Path
from kdbench.surroundings import with_streams
with_streams()
file = os.open({str(tmp_path / "file")!r}, os.O_CREAT | os.O_WRONLY)
print("out"); print("err", file=sys.stderr)
os.write(1, b"raw"); os.write(2, b"raw")
os.system("echo from a child")
sys.stdout.flush()
sys.exit(0 if file > 2 else 9)
"""
    numbers = {"stdin": 0, "stdout": 1, "stderr": 2}

    def close() -> None:
        for name in closed.split():
            os.close(numbers[name])

    done = subprocess.run([sys.executable, "-c", script], preexec_fn=close, check=False)
    assert done.returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_a_command_without_stdout_goes_on():
    script = "import sys; from kdbench.cli import main; sys.exit(main(['list', 'executors']))"
    done = subprocess.run(
        [sys.executable, "-c", script], preexec_fn=lambda: os.close(1), capture_output=False, check=False
    )
    assert done.returncode == 0


def test_a_working_directory_that_was_removed(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert main(["list", "methods"]) == 2
    assert one_line(capsys) == "error: the working directory was removed: change to one that is there."


def test_an_argument_that_is_no_utf_8(capsys):
    assert main(["status", "--work-dir", "caf\udce9"]) == 2
    assert one_line(capsys) == "error: the argument 'caf\ufffd' is no UTF-8: rename the file."


@pytest.mark.parametrize("option", ["--work-dir", "--results"])
def test_a_path_below_a_file(tmp_path, small_digits, capsys, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    command = ["sweep", "--methods", "none", "--datasets", "digits", "--schedule", "smoke", "--device", "cpu"]
    assert main([*command, "--root", str(small_digits), option, "file/inside"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "file/inside" in last
    assert "Not a directory" in last


def test_an_error_of_a_file_system_is_one_line(monkeypatch, capsys):
    """A work directory that is read-only, which no test can make that root runs."""

    def fail(*_args, **_options):
        raise PermissionError(13, "Permission denied", "ro/packs")

    monkeypatch.setattr("kdbench.cli.cli.main", fail)
    assert main(["list", "methods"]) == 2
    assert one_line(capsys) == (
        "error: cannot use ro/packs: Permission denied. Choose another path, or mend its permissions."
    )


@pytest.mark.parametrize("kind", KINDS)
def test_special_files_in_a_store_are_told_and_not_read(tmp_path, kind):
    file = tmp_path / "records" / "digits" / "x" / "y.json"
    file.parent.mkdir(parents=True)
    make_special(file, kind)
    records, (broken,) = Store(tmp_path).records()
    assert not records
    assert str(broken.path) == str(file)
    assert broken.why.startswith("unreadable: ")


def test_a_record_takes_the_place_of_a_special_file(lab):
    store = lab.store
    record = lab.run("none")
    path = store.path_of(record)
    path.unlink()
    os.mkfifo(path)
    store.write(record)
    assert store.find(record.identity) == record
    assert path.with_name(f"{path.name}.unreadable.broken").exists()


def test_status_leaves_nothing_behind(tmp_path, small_digits, capsys):
    work_dir, results = tmp_path / "runs", tmp_path / "results"
    (item,) = planned(small_digits, ("none",), seeds=1).values()
    cells = {item.identity: item.title}
    Manifest(results=results, cells=cells, commands=dict.fromkeys(cells, "kdbench run")).write(work_dir)
    with Claims(results) as claims:
        assert claims.take(item.identity)
        progress = PackProgress(pack="p", title="t", cells=cells, owner=claims.owner)
        folder = work_dir / "packs" / "p"
        folder.mkdir(parents=True)
        WorkerConsole(folder, progress)
        before = sorted(tmp_path.rglob("*"))
        assert main(["status", "--work-dir", str(work_dir), "--json"]) == 0
        assert '"running": 1' in capsys.readouterr().out
        assert sorted(tmp_path.rglob("*")) == before


def test_the_clock_of_claims_is_the_file_system_s(tmp_path):
    claims = Claims(tmp_path)
    claims.folder.mkdir()
    assert abs(claims._now() - time.time()) < 60
    assert list(claims.folder.iterdir()) == []
    assert claims.owner == Owner.here().model_copy(update={"token": claims.owner.token})


def test_a_config_of_a_user_is_told_to_be_code_before_it_runs(tmp_path, small_digits, caplog):
    from kdbench.runs.plan import plan
    from kdbench.runs.request import Request

    config = tmp_path / "config.py"
    executed = "import logging\nlogging.getLogger('kdbench').warning('it runs')\n"
    config.write_text(f"_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'\n{executed}")
    plan(Request("none", "digits", student=str(config), data_root=small_digits))
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == f"config '{config}' is Python code, which runs now with your rights"
    assert "it runs" in told
