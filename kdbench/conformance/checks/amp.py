"""Mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from kdbench.conformance.broken import require
from kdbench.conformance.exam import Exam
from kdbench.conformance.stepping import stepped


def mixed(exam: Exam) -> None:
    """What --amp does on a GPU, here on a CPU in bfloat16."""
    for family in exam.families():
        for terms in stepped(exam, family, precision=_halved):
            for name, term in terms.items():
                told = f"in {family} models the term '{name}' is {str(term.dtype).removeprefix('torch.')}"
                require(term.dtype in (torch.float32, torch.float64), f"{told}: compute it in float32")


def _halved() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", dtype=torch.bfloat16)
