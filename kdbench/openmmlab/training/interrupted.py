"""What an interrupted training left, to go on from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mmengine.dist import barrier, is_main_process

from kdbench.errors import UserError
from kdbench.openmmlab.training.run_files import POINTER, checkpoints, drop_checkpoints
from kdbench.openmmlab.training.training_checkpoints import read_training


@dataclass(frozen=True)
class Left:
    """What an interrupted training left in its folder.

    Attributes:
        iteration: Iterations that it goes on from; 0: it begins again.
        checkpoint: The newest checkpoint that can be read; None where there is none.
        unreadable: What is wrong with newer ones, a line each.
        begun: Whether anything is left of an earlier training.
    """

    iteration: int = 0
    checkpoint: Path | None = None
    unreadable: list[str] = field(default_factory=list)
    begun: bool = False


def left_in(work_dir: Path) -> Left:
    """Find the newest checkpoint in a run's folder that can be read, whatever mmengine's pointer to it says."""
    unreadable: list[str] = []
    for iteration, file in checkpoints(work_dir).items():
        try:
            read_training(file)
        except UserError as error:
            unreadable.append(str(error))
        else:
            return Left(iteration, file, unreadable, begun=True)
    return Left(unreadable=unreadable, begun=bool(unreadable) or (work_dir / POINTER).exists())


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
    if file.is_file() and file.read_text(errors="replace") == code:
        return True
    began = bool(checkpoints(file.parent))
    drop_checkpoints(file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    return not began
