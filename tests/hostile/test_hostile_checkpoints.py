"""Checkpoints that an interrupted run goes on from: never executed, and the newest that can be read is taken."""

from __future__ import annotations

import shutil

import pytest
import torch

from kdbench.errors import UserError

RUN = {"iterations": 4, "validations": 1, "warmup": 1}


class Stopping:
    """Ends a training after an iteration, as a power cut would."""

    def __init__(self, after=None):
        self.after, self.seen = after, []

    def advance(self, iteration, losses):
        self.seen.append(iteration)
        if iteration == self.after:
            raise MemoryError

    def evaluated(self, iteration, metrics): ...


@pytest.fixture(scope="module")
def interrupted(bench, tmp_path_factory):
    """A run's folder with the checkpoints of iterations 2 and 3."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(MemoryError):
        bench.train(bench.distiller("gfl", **RUN), "gfl", folder, Stopping(3), **RUN)
    assert sorted(file.name for file in folder.glob("iter_*.pth")) == ["iter_2.pth", "iter_3.pth"]
    return folder


@pytest.fixture
def folder(interrupted, tmp_path):
    return shutil.copytree(interrupted, tmp_path / "moved")


def content(file):
    from kdbench.openmmlab.training.resuming import read_training

    return read_training(file)


def test_a_folder_that_was_moved_goes_on(bench, interrupted, folder):
    assert (folder / "last_checkpoint").read_text() == str(interrupted / "iter_3.pth")
    hidden = interrupted.rename(interrupted.with_name("gone"))
    try:
        went_on = Stopping()
        trained = bench.train(bench.distiller("gfl", **RUN), "gfl", folder, went_on, name="moved", **RUN)
    finally:
        hidden.rename(interrupted)
    assert went_on.seen == [4]
    assert [point["iteration"] for point in trained.curve] == [4]


def truncate(file, _bomb):
    file.write_bytes(file.read_bytes()[:10_000])


def poison(file, bomb):
    torch.save({"state_dict": {}, "meta": {"iter": 2, "bomb": bomb}}, file)


def hide_poison(file, bomb):
    """A pickle in an otherwise good checkpoint."""
    torch.save({**content(file), "extra": bomb}, file)


def lose_part(file, _bomb):
    torch.save({"meta": {"iter": 2, "epoch": 0}, "state_dict": {}}, file)


def forget_iteration(file, _bomb):
    torch.save({**content(file), "meta": {"iter": "2", "epoch": 0}}, file)


@pytest.mark.parametrize(
    "spoil", [truncate, poison, hide_poison, lose_part, forget_iteration, lambda f, _: f.write_bytes(b"")]
)
def test_the_newest_that_can_be_read_is_taken(folder, bomb, spoil):
    from kdbench.openmmlab.training.resuming import resume_point

    spoil(folder / "iter_3.pth", bomb)
    left = resume_point(folder)
    assert (left.iteration, left.checkpoint) == (2, folder / "iter_2.pth")
    (line,) = left.unreadable
    assert str(folder / "iter_3.pth") in line
    assert "\n" not in line


@pytest.mark.parametrize("pointer", ["", "/nowhere/iter_9.pth", "iter_3.pth\0", None])
def test_what_the_pointer_says_does_not_matter(folder, pointer):
    from kdbench.openmmlab.training.resuming import resume_point

    (folder / "last_checkpoint").unlink()
    if pointer is not None:
        (folder / "last_checkpoint").write_text(pointer)
    assert resume_point(folder).iteration == 3


def test_where_none_can_be_read_it_begins_again(tmp_path):
    from kdbench.openmmlab.training.resuming import ResumePoint, resume_point

    assert resume_point(tmp_path) == ResumePoint()
    (tmp_path / "last_checkpoint").write_text("/nowhere/iter_9.pth")
    assert resume_point(tmp_path) == ResumePoint(begun=True)
    (tmp_path / "iter_9.pth").touch()
    left = resume_point(tmp_path)
    assert (left.checkpoint, left.begun, len(left.unreadable)) == (None, True, 1)


def test_a_session_says_so_in_one_line(lab, monkeypatch):
    def unreadable(file):
        raise UserError(
            f"{file} (0 bytes) is truncated or no checkpoint: get it again, or give another file."
        )

    monkeypatch.setattr("kdbench.openmmlab.training.resuming.read_training", unreadable)
    folder = lab.root / "runs" / lab.plan().plain.identity()[:16]
    folder.mkdir(parents=True)
    (folder / "iter_9.pth").touch()
    lab.run("none")
    assert (
        f"1 of 1: plain student, seed 0 starts again: no checkpoint in {folder} can be read" in lab.told.lines
    )
    assert any(line.startswith("checkpoint left out: ") for line in lab.told.lines)


def test_the_config_in_a_checkpoint_which_mmengine_would_execute_is_left_out(folder, mark):
    checkpoint = torch.load(folder / "iter_3.pth", weights_only=False)
    checkpoint["meta"]["config"] = f"open({str(mark)!r}, 'w')"
    torch.save(checkpoint, folder / "iter_3.pth")
    assert "config" not in content(folder / "iter_3.pth")["meta"]


def test_nothing_of_a_checkpoint_that_a_training_needs_is_lost(folder):
    from kdbench.openmmlab.weights.checkpoints import Inert

    def inert(value, place=""):
        """Where something of it was left out."""
        inside = value.items() if isinstance(value, dict) else ()
        inside = enumerate(value) if isinstance(value, list | tuple) else inside
        found = [place] if isinstance(value, Inert) else []
        return found + [path for key, inner in inside for path in inert(inner, f"{place}.{key}")]

    read, written = content(folder / "iter_3.pth"), torch.load(folder / "iter_3.pth", weights_only=False)
    assert inert(read) == []
    assert set(read) == set(written)
    for part in ("optimizer", "param_schedulers", "meta"):
        assert repr(read[part]) == repr(written[part]), part
    info = written["message_hub"]["runtime_info"]
    assert read["message_hub"]["runtime_info"] == {name: info[name] for name in info if name != "eta"}


def test_the_checkpoint_of_another_model_is_refused(bench, folder):
    other = bench.distiller("gfl", seed=1, **RUN)
    other.student.bbox_head.extra = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"of another model: remove the iter_\*.pth from its folder"):
        bench.train(other, "gfl", folder, Stopping(), **RUN)


def test_mmengine_reads_local_files_as_safely(tmp_path, bomb):
    from mmengine.runner.checkpoint import CheckpointLoader

    import kdbench.openmmlab.training.resuming  # noqa: F401

    torch.save({"state_dict": {}, "bomb": bomb}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="would have to be executed"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "weights.pth"), "cpu")


def test_and_what_it_downloads(tmp_path, bomb, monkeypatch):
    from mmengine.runner.checkpoint import CheckpointLoader

    import kdbench.openmmlab.training.resuming  # noqa: F401

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "weights.pth"
    cached.parent.mkdir(parents=True)
    torch.save({"bomb": bomb}, cached)
    with pytest.raises(UserError, match=r"https://example.org/weights.pth .* must be executed"):
        CheckpointLoader.load_checkpoint("https://example.org/weights.pth", "cpu")
