"""Faults planted in generated methods are found on the simulated device, and named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from children import finish, start

from kdbench.offers import ENVIRONMENT

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from made_plugins import Copy, write

FAULTS = {
    "adapter": (
        {"# build": "self.extra = [nn.Conv2d(1, 1, 1)]", "# losses": "self.extra[0](step.images[:, :1])"},
        "plain attributes stay on the CPU: extra",
    ),
    "grid": (
        {"# build": "self.grid = torch.ones(1, 1, 1, 1)", "# level": "ours = ours * self.grid"},
        "plain attributes stay on the CPU: grid",
    ),
    "mask": ({"# level": "ours = ours * (torch.rand(ours.shape[-2:]) > 0.1)"}, "torch.rand(ours.shape[-2:])"),
    "constant": ({"# losses": "factor = torch.ones(1)"}, "term = factor"),
    "index": (
        {"# level": "torch.ones(theirs.shape)[theirs > 0]"},
        "torch.ones(theirs.shape)[theirs > 0]",
    ),
}
"""Fault -> changes to the good method's code, and a part of the finding."""


@pytest.fixture(scope="module")
def findings(scenes, tmp_path_factory):
    """Method -> finding; one process checks all methods."""
    folder = tmp_path_factory.mktemp("faults")
    names = [f"planted-{what}" for what in FAULTS]
    sites = [write(folder, f"planted-{what}", Copy(method=changes)) for what, (changes, _) in FAULTS.items()]
    sites.append(write(folder, "planted-nothing", Copy()))
    names.append("planted-nothing")
    told, log = folder / "told.json", folder / "log"
    module = ["-m", "kdbench.conformance.on_device", str(scenes), str(told), *names]
    program = f"import sys; sys.path[:0] = {sites!r}; import runpy; sys.argv = {module[1:]!r}; "
    program += "runpy.run_module(sys.argv[0], run_name='__main__')"
    finish(start(["-c", program], log, **{ENVIRONMENT: ",".join(names)}), log)
    return {found["method"]: found["what"] for found in json.loads(told.read_text())}


@pytest.mark.slow
@pytest.mark.parametrize("what", FAULTS)
def test_a_planted_fault_is_found(findings, what):
    found = findings[f"planted-{what}"]
    assert found.startswith("build and first losses on a GPU: ")
    assert FAULTS[what][1] in found


@pytest.mark.slow
def test_and_nothing_in_the_good_method(findings):
    assert findings["planted-nothing"] == ""
