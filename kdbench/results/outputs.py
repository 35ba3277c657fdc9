"""Leaderboards in every format, as text or as files of a folder."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from kdbench.errors import UserError
from kdbench.files import slug
from kdbench.results.across import Across
from kdbench.results.formats import escape, legend, to_csv, to_markdown
from kdbench.results.pages import page
from kdbench.results.sheets import ACROSS_LEGEND, Sheet, across_sheets, alone, latex, leaderboard_sheets

SUFFIXES = {"csv": ".csv", "markdown": ".md", "latex": ".tex", "parquet": ".parquet"}
"""Format -> ending of its files."""
ACROSS = "across"
"""Name of the comparison over rankings."""


def text_of(frame: pd.DataFrame, style: str) -> str:
    """Leaderboards as ``csv``, ``markdown`` or ``latex``."""
    if style == "csv":
        return to_csv(frame)
    return to_markdown(frame) if style == "markdown" else _latex(leaderboard_sheets(frame), legend(frame))


def across_text(found: Across, style: str) -> str:
    """A comparison over rankings as ``csv``, ``markdown`` or ``latex``."""
    if style == "csv":
        return to_csv(found.frame)
    sheets = across_sheets(found)
    if style == "latex":
        return _latex(sheets, f"{ACROSS_LEGEND} {alone(found)}".strip())
    parts = [sheet.markdown() for sheet in sheets]
    told = [escape(alone(found))] if alone(found) else []
    return "\n\n".join([ACROSS_LEGEND, *parts, *told]) + "\n"


def _latex(sheets: list[Sheet], words: str) -> str:
    head = f"% Needs \\usepackage{{booktabs,adjustbox}}.\n% {latex(words)}"
    return "\n\n".join([head, *(sheet.latex() for sheet in sheets)]) + "\n"


def to_parquet(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet, with its full numbers.

    Raises:
        UserError: Where pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise UserError("--format parquet needs pyarrow: install it with `pip install 'kdbench[parquet]'`.")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


def write_frames(found: Mapping[str, pd.DataFrame], style: str, folder: Path) -> list[Path]:
    """Write a file for each leaderboard into a folder; the files, in their order.

    Raises:
        UserError: When they cannot be written, or two would have one name.
    """
    files: dict[str, bytes] = {}
    for name, frame in found.items():
        file = f"{slug(name)}{SUFFIXES[style]}"
        if file in files:
            raise UserError(f"two leaderboards would be {folder / file}: write them to different folders.")
        if style == "parquet":
            files[file] = to_parquet(frame)
            continue
        text = page(name, frame) if style == "markdown" else text_of(frame, style)
        files[file] = text.encode()
    return _write(files, folder)


def write_across(found: Across, style: str, folder: Path) -> list[Path]:
    """Write a comparison over rankings into a folder. Raises UserError when it cannot be written."""
    data = to_parquet(found.frame) if style == "parquet" else across_text(found, style).encode()
    return _write({f"{ACROSS}{SUFFIXES[style]}": data}, folder)


def _write(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}.") from error
    return [folder / name for name in files]
