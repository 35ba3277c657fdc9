"""What an interrupted training left, to go on from."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import barrier, is_main_process


def drop_checkpoints(work_dir: Path) -> None:
    """Remove what a training would go on from."""
    (work_dir / "last_checkpoint").unlink(missing_ok=True)
    for checkpoint in work_dir.glob("iter_*.pth"):
        checkpoint.unlink()


def of_this_code(file: Path, code: str) -> bool:
    """Whether a training may go on from what is there; checkpoints of other code are removed.

    In a distributed run every process calls it; the main one looks and the others wait for it.

    Args:
        file: Of the run's folder; has, or gets, the hash of the method's code that the run begins with.
        code: That of today's.
    """
    ours = not is_main_process() or _settled(file, code)
    barrier()
    return ours


def _settled(file: Path, code: str) -> bool:
    if file.is_file() and file.read_text() == code:
        return True
    began = (file.parent / "last_checkpoint").is_file()
    drop_checkpoints(file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    return not began
