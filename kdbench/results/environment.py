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
"""Import names of the packages whose versions a record has; older records lack the last ones."""
PINNED = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*) (?P<version>[0-9][A-Za-z0-9.!_-]*)(\+(?P<build>[a-z0-9.]+))?"
)
"""Pattern of a distribution and its version; ``build`` is the version's local part, such as ``cu128``."""
TORCH_BUILD = re.compile(r"cpu|cu[0-9]+|rocm[0-9.]+|xpu")
TORCH_INDEX = "https://download.pytorch.org/whl/"
"""Index of torch's own builds, by the local part of their version."""


def requirements(record: Record) -> list[str]:
    """Return the lines of a requirements file that pins the software of a record.

    They include the package index of torch's build, if it needs one, and name the versions that the record lacks.

    Args:
        record: The record; a malformed version counts as lacking.
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
    """Yield import name and matched version of each package that the record names, its plugin last."""
    versions = {name: record.versions.get(name, "") for name in PACKAGES} | {"plugin": record.plugin}
    for name, text in versions.items():
        match = PINNED.fullmatch(text if " " in text else f"{name} {text}")
        if match is not None:
            yield name, match
