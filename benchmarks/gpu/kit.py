"""Make a folder with everything that `measure.py` needs on a machine without a network: wheels and data.

    python benchmarks/gpu/kit.py --have have.txt --camvid ~/CamVid --bccd ~/BCCD --output kit

`have.txt` lists the packages on the machine: the output of `python3 -m pip list --format=freeze` there, or bare
names, one per line. Packages that kdbench needs and the machine lacks are added as wheels, in the versions that are
installed here, so run this where kdbench's tests run. CamVid's images become JPEG (23 MiB instead of 180);
their files keep their names, since readers detect the format by the content.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import cv2
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = (".", "plugins/kdbench-cwd", "plugins/kdbench-pkd")
ALSO = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "nvidia-ml-py")
"""Packages that tests and measurements need in addition to kdbench's dependencies."""
NEVER = {"kdbench", "torch", "torchvision", "opencv-python"}
"""Packages not to download: built here, or the machine's own (torch fits its driver; one OpenCV is enough)."""
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
)
QUALITY = 80


def needed(names: list[str], have: set[str], python: str) -> set[str]:
    """Return the names of packages and of all their dependencies, without those that exist already."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in have | NEVER | found:
            continue
        found.add(name)
        waiting += dependencies(name, python)
    return found


def dependencies(name: str, python: str) -> list[str]:
    """Return the direct dependencies of an installed package on Linux with a version of Python, without extras."""
    target = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    target |= {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
    try:
        wanted = [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError:
        sys.exit(
            f"{name} is needed but not installed here: run this where kdbench's tests run (tox run -e test)"
        )
    return [
        canonicalize_name(one.name) for one in wanted if one.marker is None or one.marker.evaluate(target)
    ]


def wheels(folder: Path, have: set[str], python: str) -> None:
    """Download the wheels that the machine lacks, and build kdbench's own."""
    own = dependencies("kdbench", python)
    pins = [f"{name}=={version(name)}" for name in sorted(needed([*own, *ALSO], have, python))]
    pip = [sys.executable, "-m", "pip"]
    target = ["--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    target += [part for platform in PLATFORMS for part in ("--platform", platform)]
    for pin in pins:  # one by one: the source of a package without a wheel is built here
        download = [*pip, "download", "-q", "--no-deps", "-d", str(folder)]
        if subprocess.run([*download, *target, pin], check=False).returncode:
            subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(folder), pin], check=True)
    for ours in OURS:
        subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT / ours)], check=True)


def smaller(source: Path, target: Path) -> None:
    """Copy CamVid with its images as JPEG; lists and masks are unchanged."""
    for file in sorted(source.rglob("*")):
        copy = target / file.relative_to(source)
        if not file.is_file():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".png" and not file.parent.name.endswith("annot"):
            _, jpeg = cv2.imencode(".jpg", cv2.imread(str(file)), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            copy.write_bytes(jpeg.tobytes())
        else:
            shutil.copy(file, copy)


def size(folder: Path) -> str:
    """Return a folder's size."""
    whole = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return f"{folder}: {whole / 2**20:.1f} MiB"


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--have", type=Path, required=True, help="packages of the machine, one a line")
    parser.add_argument("--camvid", type=Path, required=True, help="the SegNet tutorial's CamVid folder")
    parser.add_argument("--bccd", type=Path, required=True, help="the folder BCCD of BCCD_Dataset")
    parser.add_argument("--python", default="3.12", help="version of the machine's Python")
    parser.add_argument("--output", type=Path, default=Path("kit"))
    asked = parser.parse_args()
    have = {canonicalize_name(line.split("==")[0].split("@")[0].strip()) for line in asked.have.open()}
    for name in ("wheels", "data"):
        shutil.rmtree(asked.output / name, ignore_errors=True)
    (asked.output / "wheels").mkdir(parents=True)
    wheels(asked.output / "wheels", have, asked.python)
    smaller(asked.camvid, asked.output / "data" / "camvid")
    shutil.copytree(asked.bccd, asked.output / "data" / "bccd", ignore=shutil.ignore_patterns(".git"))
    print(*map(size, (asked.output / "wheels", asked.output / "data")), sep="\n")


if __name__ == "__main__":
    main()
