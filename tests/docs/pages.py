"""The guide's pages, and the blocks of them that can be run."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
FENCE = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^```$', re.S | re.M)
NOT_RUN = "text"
PIP = ("--no-index", "--no-deps", "--no-build-isolation")
"""Settings that keep pip of an :class:`Environment` off the network; kdbench is already installed."""


@dataclass(frozen=True)
class Block:
    """A fenced block: command lines or, in another language and with a title, a file."""

    language: str
    title: str | None
    code: str


def blocks(page: str) -> list[Block]:
    """Return the blocks that a reader executes, in order: commands to run and files to write.

    Blocks with a title that is no file name are optional, and text blocks are only for reading; both are left out.
    """
    text = (GUIDE / page).read_text(encoding="utf-8")
    found = [Block(match["language"], match["title"], match["code"]) for match in FENCE.finditer(text)]
    assert len(found) * 2 == len(re.findall("^```", text, re.M)), "a block cannot be parsed"
    kept = [block for block in found if block.language != NOT_RUN]
    return [block for block in kept if not block.title or Path(block.title).suffix]


class Environment:
    """A virtual environment in an empty folder, which includes all packages of this Python.

    Args:
        folder: Parent folder of the environment and the reader's folder.
        variables: Environment variables.
    """

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        environment = folder / "env"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        self.binaries = environment / "bin"
        (packages,) = environment.glob("lib/python*/site-packages")
        outer = [path for path in sys.path if Path(path).name == "site-packages"]
        (packages / "outer.pth").write_text(
            "".join(f"import site; site.addsitedir({path!r})\n" for path in outer)
        )
        self._program("kdbench", "-m kdbench")
        self._program("pytest", "-m pytest")
        self._program("pip", "-m pip --quiet --disable-pip-version-check", f"{' '.join(PIP)}")
        self._variables = {**variables, "PATH": f"{self.binaries}:{variables['PATH']}"}

    def _program(self, name: str, start: str, end: str = "") -> None:
        program = self.binaries / name
        program.write_text(f'#!/bin/sh\nexec "{self.binaries}/python" {start} "$@" {end}\n')
        program.chmod(0o755)

    def follow(self, page: str) -> list[str]:
        """Execute a page, and return the output of each block of commands."""
        printed = []
        for block in blocks(page):
            if block.language == "sh":
                printed.append(self.run(block.code))
            else:
                assert block.title, f"a {block.language} block of {page} has no file name as its title"
                file = self.home / block.title
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.code, encoding="utf-8")
        return printed

    def run(self, commands: str) -> str:
        """Run command lines in the reader's folder, all of which must succeed, and return their output."""
        done = subprocess.run(
            ["sh", "-e", "-c", commands], cwd=self.home, env=self._variables, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout
