from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kdbench.results.store import Store

SAMPLES = runpy.run_path(str(Path(__file__).parents[1] / "results" / "samples.py"))
cell = SAMPLES["cell"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_of(record, place, scope="mmdet"):
    """A finished run's folder under the default work directory, and its record under the default results."""
    folder = place / "out" / "runs" / record.identity[:16]
    folder.mkdir(parents=True)
    torch.save({"state_dict": {"w": torch.ones(2)}}, folder / "student.pth")
    (folder / "student.py").write_text(f"default_scope = '{scope}'\nmodel = dict()\n")
    return folder, Store(place / "results").write(record)


def refused(done):
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("error: ")
    return done.err


@pytest.fixture
def record():
    return cell("mimic[weight=2]", 0.6)


@pytest.mark.parametrize("how", ["folder", "record", "prefix", "identity"])
def test_a_run_is_exported(kdbench, place, record, how):
    folder, file = run_of(record, place)
    name = {"folder": folder, "record": file, "prefix": record.identity[:6], "identity": record.identity}[how]
    done = kdbench("export", str(name), "--output", "made/best.pth")
    assert (done.code, done.err) == (0, "")
    assert sorted(path.name for path in (place / "made").iterdir()) == ["best.pth", "best.py"]
    assert (place / "made/best.pth").read_bytes() == (folder / "student.pth").read_bytes()
    assert (place / "made/best.py").read_text() == (folder / "student.py").read_text()
    assert "made/best.pth" in done.out
    assert f"the student of {folder if how == 'folder' else folder.relative_to(place)}" in done.out


@pytest.mark.parametrize(
    ("scope", "load", "infer"),
    [("mmdet", "init_detector", "inference_detector"), ("mmseg", "init_model", "inference_model")],
)
def test_it_says_how_to_load_it(kdbench, place, record, scope, load, infer):
    folder, _ = run_of(record, place, scope)
    out = kdbench("export", str(folder), "--output", "it's.pth").out
    assert f"from {scope}.apis import {infer}, {load}" in out
    assert f"""model = {load}("it's.py", "it's.pth", device='cpu')""" in out


def test_other_folders(kdbench, place, record):
    folder, file = run_of(record, place)
    (place / "out" / "runs").rename(place / "mine")
    (place / "results").rename(place / "theirs")
    options = ["--work-dir", "mine", "--results", "theirs"]
    assert kdbench("export", record.identity[:8], "--output", "a.pth", *options).code == 0
    told = refused(kdbench("export", record.identity[:8], "--output", "b.pth", "--results", "theirs"))
    assert "is finished, but out/runs/" in told
    assert "give its --work-dir, or make it again with `kdbench run`" in told
    assert file.name == next((place / "theirs").rglob("*.json")).name
    assert not folder.exists()


def test_a_prefix_is_found_without_a_record(kdbench, place, record):
    _, file = run_of(record, place)
    file.unlink()
    for digits in (6, 16, 64):
        assert kdbench("export", record.identity[:digits], "--output", f"{digits}.pth").code == 0


@pytest.mark.parametrize("name", ["nothing", "abc", "12345", "ABCDEF1", "out/runs/x", "gggggg"])
def test_what_is_no_run(kdbench, place, name):
    assert f"unknown run '{name}': give a run's folder" in refused(
        kdbench("export", name, "--output", "a.pth")
    )


def test_an_unknown_prefix(kdbench, place, record):
    run_of(record, place)
    other = "0" * 8 if record.identity[0] != "0" else "f" * 8
    told = refused(kdbench("export", other, "--output", "a.pth"))
    assert f"unknown run '{other}': neither results nor out/runs has one" in told
    almost = record.identity[:63] + ("0" if record.identity[63] != "0" else "1")
    assert "unknown run" in refused(kdbench("export", almost, "--output", "a.pth"))


def test_an_ambiguous_prefix(kdbench, place):
    for name in ("abcdef0000000000", "abcdef1111111111"):
        (place / "out/runs" / name).mkdir(parents=True)
    told = refused(kdbench("export", "abcdef", "--output", "a.pth"))
    assert "run 'abcdef' is ambiguous: abcdef0000000000, abcdef1111111111. Give more digits." in told


@pytest.mark.parametrize("lacks", ["student.pth", "student.py"])
@pytest.mark.parametrize("by", ["folder", "prefix"])
def test_a_run_that_still_trains(kdbench, place, record, lacks, by):
    folder, file = run_of(record, place)
    (folder / lacks).unlink()
    file.unlink()
    told = refused(
        kdbench("export", str(folder) if by == "folder" else record.identity[:6], "--output", "a.pth")
    )
    assert f"has no {lacks}: no run has finished there. Give its command again." in told


@pytest.mark.parametrize("by", ["record", "prefix"])
def test_a_failed_run(kdbench, place, by):
    failed = cell("mimic", status="failed", metrics=None)
    _, file = run_of(failed, place)
    told = refused(
        kdbench("export", str(file) if by == "record" else failed.identity[:6], "--output", "a.pth")
    )
    assert f"run {failed.identity[:16]} is not finished (failed): NaN at iteration 7 in loss_cls" in told


@pytest.mark.parametrize("content", ["cut", "other", "binary"])
def test_a_file_that_is_no_record(kdbench, place, record, content):
    _, file = run_of(record, place)
    broken = {"cut": file.read_bytes()[:200], "other": json.dumps({"a": 1}).encode(), "binary": b"\xff\x00"}
    file.write_bytes(broken[content])
    told = refused(kdbench("export", str(file), "--output", "a.pth"))
    assert f"{file} is not a readable record (" in told


def test_a_folder_with_a_config_of_somebody_else(kdbench, place, record):
    folder, _ = run_of(record, place, scope="mmpose")
    told = refused(kdbench("export", str(folder), "--output", "a.pth"))
    assert "student.py is not a config that kdbench wrote" in told
    assert not (place / "a.pth").exists()


def test_nothing_is_overwritten(kdbench, place, record):
    folder, _ = run_of(record, place)
    (place / "train.py").write_text("mine")
    assert "train.py exists" in refused(kdbench("export", str(folder), "--output", "train.pth"))
    assert (place / "train.py").read_text() == "mine"
    assert not (place / "train.pth").exists()
    assert kdbench("export", str(folder), "--output", "a.pth").code == 0
    assert "a.pth exists" in refused(kdbench("export", str(folder), "--output", "a.pth"))


@pytest.mark.parametrize("output", ["a.py", "a", "a.pt"])
def test_the_output_is_a_pth_file(kdbench, place, record, output):
    folder, _ = run_of(record, place)
    assert f"--output {output} must end in .pth" in refused(
        kdbench("export", str(folder), "--output", output)
    )


def test_a_failed_copy_leaves_nothing(kdbench, place, record, monkeypatch):
    def full(_source, target):
        target.write(b"half")
        raise OSError(28, "No space left on device", target.name)

    folder, _ = run_of(record, place)
    monkeypatch.setattr("shutil.copyfileobj", full)
    assert "no disk space left" in refused(kdbench("export", str(folder), "--output", "made/a.pth"))
    assert list((place / "made").iterdir()) == []


def test_the_command_imports_nothing_heavy(place, record):
    folder, _ = run_of(record, place)
    code = "import sys; from kdbench.cli import main; main(sys.argv[1:]); print(sorted(sys.modules))"
    command = [sys.executable, "-c", code, "export", str(folder), "--output", "a.pth"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "mmengine"} & set(
        json.loads(done.stdout.splitlines()[-1].replace("'", '"'))
    )
