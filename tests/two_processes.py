"""Runs a function in two processes at once: ``in_two("module:function")`` returns the results of both."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def in_two(function: str, folder: Path, source: Path) -> list[Any]:
    """Return the result of a function without arguments in each of two processes; it must be a JSON value.

    Args:
        function: ``module:function``.
        folder: Empty folder for the processes' rendezvous.
        source: Folder of the module.
    """
    command = [sys.executable, __file__, function, str(folder), str(source)]
    running = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    ended = [(process.communicate(timeout=120), process.returncode) for process in running]
    for (_, errors), code in ended:
        assert code == 0, errors[-2000:]
    return [json.loads(output) for (output, _), _ in ended]


def main(function: str, folder: str, source: str, rank: str) -> None:
    from torch import distributed

    sys.path.append(source)
    module, _, name = function.partition(":")
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=int(rank), world_size=2)
    sys.stdout.write(json.dumps(getattr(importlib.import_module(module), name)()))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
