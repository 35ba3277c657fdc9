import json

import pytest
from click.testing import CliRunner

from kdbench import cli
from kdbench.cli.doctor import command
from kdbench.openmmlab import environment
from kdbench.openmmlab.environment import DataRoot, Disk, Environment, Library
from kdbench.openmmlab.setup import Problem


@pytest.fixture
def seen(monkeypatch):
    found = Environment(
        python="3.11.7",
        platform="Linux",
        torch="2.15.0",
        accelerator=None,
        devices=[],
        torchvision="0.29.2",
        torchvision_loads=True,
        libraries=[Library("mmcv", "2.3.6", ["onedl-mmcv"]), Library("mmseg", None, [])],
        ops="torchvision",
        plugins=[
            {
                "distribution": "kdbench",
                "name": "papers",
                "version": "1",
                "error": None,
                "offers": {"method": ["a", "b"]},
            },
            {
                "distribution": "theirs",
                "name": "main",
                "version": "1",
                "error": "ImportError: [x]",
                "offers": {},
            },
        ],
        data=DataRoot("data", {"digits": "ready", "voc": "absent"}),
        disks=[Disk("results", ".", 2_000_000_000)],
    )
    monkeypatch.setattr(environment, "inspect", lambda: found)
    return found


def test_a_working_installation(seen):
    result = CliRunner().invoke(command)
    assert result.exit_code == 0, result.output
    for text in (
        "3.11.7",
        "CPU only",
        "2.3.6 from onedl-mmcv",
        "torchvision's",
        "2 methods",
        "voc absent",
        "2.0 GB",
    ):
        assert text in result.output
    assert "not installed" in result.output
    assert "ImportError: [x]" in result.output
    assert "A run would work here." in result.output


def test_cuda_mps_is_told_of_where_there_is_an_nvidia_gpu(seen):
    def told(runs):
        seen.cuda_mps = runs
        return " ".join(CliRunner().invoke(command).output.split())

    assert "CUDA MPS" not in told(None)
    assert "does not run: workers on one GPU take turns (nvidia-cuda-mps-control -d starts it)" in told(False)
    assert "runs: workers on one GPU compute at once" in told(True)


def test_problems_come_with_their_command(seen):
    fix = "pip install --force-reinstall torch==2.15.0 torchvision --index-url https://download.pytorch.org/whl/cpu"
    seen.problems.append(Problem("torch [cpu] does not fit", fix))
    seen.warnings.append("plugin theirs is broken")
    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert "problem: torch [cpu] does not fit\n" in result.output
    assert f"fix it: {fix}\n" in result.output
    assert "warning: plugin theirs is broken" in result.output
    assert "A run would work" not in result.output


@pytest.mark.parametrize("works", [True, False])
def test_json(seen, works):
    seen.problems += [] if works else [Problem("what", "fix")]
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == (0 if works else 1)
    printed = json.loads(result.output)
    assert printed["works"] is works
    assert printed["libraries"][0] == {"name": "mmcv", "version": "2.3.6", "distributions": ["onedl-mmcv"]}
    assert printed["problems"] == ([] if works else [{"what": "what", "fix": "fix"}])


def test_the_exit_code_reaches_the_shell(seen, capsys):
    assert cli.main(["doctor"]) == 0
    seen.problems.append(Problem("what", "fix"))
    assert cli.main(["doctor", "--json"]) == 1
