import shlex
import subprocess

from kdbench.results.commands import again, command

from .samples import MADE, cell


def test_one_seed_and_several():
    assert (
        again([cell("mimic", seed=3)]) == "kdbench run --method mimic --dataset digits --pair tiny --seed 3"
    )
    several = again([cell("m[a=[1,2]]", seed=seed) for seed in (2, 0, 2)])
    assert several.startswith("for seed in 0 2; do kdbench run --method 'm[a=[1,2]]' ")
    assert again([]) == ""


def test_mixed_precision_is_asked_for():
    assert again([cell(precision="bf16")]).endswith("--seed 0 --amp bf16")


def test_the_shell_reads_what_was_meant():
    text = command('m[x="a\'b"]', "d; echo no", "p$x", [1, 2]).replace("kdbench run", "printf '%s\\n'")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert words[1] == 'm[x="a\'b"]'
    assert [words[i] for i in (3, 5, 7, 15)] == ["d; echo no", "p$x", "1", "2"]


def test_what_the_spec_does_not_tell_is_told_by_the_command_that_made_it():
    made = "kdbench run --method m --dataset d --set schedule.lr=1 --json --seed"
    records = [
        cell(seed=seed, schedule="custom", made={**MADE, "command": f"{made} {seed}"}) for seed in (0, 1)
    ]
    told = "kdbench run --method m --dataset d --set schedule.lr=1 --seed"
    assert again(records) == f"{told} 0 && {told} 1"
    given = "kdbench run --method m --dataset d --teacher-checkpoint t.pth --json"
    assert again([cell(made={**MADE, "command": given})]) == given.removesuffix(" --json")
    assert shlex.split(again([cell(made={**MADE, "command": "a\n b"}, schedule="custom")])) == ["a", "b"]
