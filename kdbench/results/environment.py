"""The software that a record was made with, as a requirements file for pip."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdbench.results.record import Record
from kdbench.text import line

PACKAGES = (
    *("kdbench", "torch", "torchvision", "mmengine", "mmcv", "mmdet", "mmseg"),
    *("numpy", "scipy", "cv2", "PIL"),
)
"""Import names whose versions a record has. Older records lack the last ones."""
PINNED = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*) (?P<version>[0-9][A-Za-z0-9.!_-]*)(\+(?P<build>[a-z0-9.]+))?"
)
"""A distribution and its version; ``build`` is the local part of a version, such as ``cu128``."""
TORCH_BUILD = re.compile(r"cpu|cu[0-9]+|rocm[0-9.]+|xpu")
TORCH_INDEX = "https://download.pytorch.org/whl/"
"""Where torch's own builds lie, by the local part of their version."""


def requirements(record: Record) -> list[str]:
    """Return the lines of a requirements file that pins what a record was made with, and says what it lacks.

    Args:
        record: The record; a version in it that is none is treated as lacking.

    Returns:
        Requirements, an index of packages where torch's build is not the usual one, and comments.
    """
    lines = [
        line(f"# {record.selector} on {record.pair_name}, seed {record.seed} ({record.identity[:12]})"),
        line(f"# Python {record.versions.get('python', 'of an unknown version')}"),
    ]
    pinned = dict(_pinned(record))
    builds = {match["build"] for match in pinned.values() if TORCH_BUILD.fullmatch(match["build"] or "")}
    lines += [f"--extra-index-url {TORCH_INDEX}{build}" for build in sorted(builds)]
    lines += dict.fromkeys("==".join(match[0].split(" ")) for match in pinned.values())
    lacking = [name for name in PACKAGES if name not in pinned]
    return lines + ([f"# The record has no version of {', '.join(lacking)}."] if lacking else [])


def _pinned(record: Record) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield import name, distribution and version of each package that the record names, its plugin last."""
    told = {name: record.versions.get(name, "") for name in PACKAGES} | {"plugin": record.plugin}
    for name, text in told.items():
        match = PINNED.fullmatch(text if " " in text else f"{name} {text}")
        if match is not None:
            yield name, match
