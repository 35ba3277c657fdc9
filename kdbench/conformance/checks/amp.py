"""Mixed precision."""

from __future__ import annotations

from functools import partial

import torch

from kdbench.conformance.broken import require
from kdbench.conformance.exam import Exam
from kdbench.conformance.stepping import stepped

DTYPES = (torch.float16, torch.bfloat16)


def mixed(exam: Exam) -> None:
    """What --amp does, in both half precisions."""
    for family in exam.families():
        mixed_in(exam, family)


def mixed_in(exam: Exam, family: str) -> None:
    """A step in each half precision, on the device of the bench."""
    for dtype in DTYPES:
        for terms in stepped(exam, family, precision=partial(torch.autocast, exam.bench.device, dtype)):
            for name, term in terms.items():
                told = f"in {family} models the term '{name}' is {_short(term.dtype)} under {_short(dtype)}"
                require(term.dtype in (torch.float32, torch.float64), f"{told}: compute it in float32")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
