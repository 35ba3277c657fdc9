import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from kdbench import plugins as registries
from kdbench.cli.leaderboard import command
from kdbench.errors import UserError
from kdbench.results.store import Store

SAMPLES = runpy.run_path(str(Path(__file__).parents[1] / "results" / "samples.py"))
cell, cells, teacher = SAMPLES["cell"], SAMPLES["cells"], SAMPLES["teacher"]


@pytest.fixture
def root(tmp_path):
    for record in [*cells("none", {0: 0.5, 1: 0.6}), *cells("mimic[weight=2]", {0: 0.6, 1: 0.7})]:
        Store(tmp_path).write(record)
    return tmp_path


@pytest.fixture
def datasets(monkeypatch):
    """A registry that knows digits and voc, for the command alone: what it imports has the real one."""
    import kdbench.results.derived  # noqa: F401

    def find(name):
        if name not in ("digits", "voc"):
            raise UserError(f"unknown dataset '{name}'.{registries.suggestion(name, ['digits', 'voc'])}")

    monkeypatch.setattr(registries, "registry", lambda: SimpleNamespace(dataset=find, pairs={}, methods={}))


def call(root, *arguments):
    return CliRunner().invoke(command, [*arguments, "--results", str(root)])


def message(result):
    assert isinstance(result.exception, UserError)
    assert "\n" not in str(result.exception)
    return str(result.exception)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("table", "mimic[weight=2]"),
        ("csv", ",mimic[weight=2],2,0.6"),
        ("markdown", "| mimic[weight=2] | 2 | 65.0 |"),
        ("latex", "mimic{[}weight=2{]} & 2 & 65.0 &"),
    ],
)
def test_formats(root, style, expected):
    for arguments in (["digits"], []):
        result = call(root, *arguments, "--format", style)
        assert result.exit_code == 0, result.exception
        assert expected in result.stdout


def test_unknown_dataset(root, datasets):
    assert "Did you mean 'digits'?" in message(call(root, "digit"))


def test_a_pair_is_told_from_a_dataset(root):
    told = message(call(root, "digits-gfl"))
    assert told == "'digits-gfl' is a pair: its rankings are among those of dataset 'digits'."


def test_no_records(tmp_path, datasets):
    assert "`kdbench run --method mimic --dataset voc`" in message(call(tmp_path, "voc"))
    assert "`kdbench run" in message(call(tmp_path))
    assert "`kdbench run" in message(call(tmp_path / "absent"))


def test_smoke_only(tmp_path):
    Store(tmp_path).write(cell(schedule="smoke"))
    assert "never ranked" in message(call(tmp_path, "digits"))


def test_a_half_cut_file_is_told_on_stderr(root):
    path = Store(root).path_of(cell("none", 0.5))
    half = path.read_text()[:100]
    path.write_text(half)
    result = call(root, "digits", "--format", "csv")
    assert result.exit_code == 0
    assert str(path) in result.stderr
    assert str(path) not in result.stdout
    assert path.read_text() == half


def test_write_then_check(root):
    assert call(root, "--check").exit_code == 1
    assert "digits.md" in call(root, "--write").stdout
    assert call(root, "--check").exit_code == 0
    (root / "leaderboards/digits.md").write_text("better")
    result = call(root, "--check")
    assert result.exit_code == 1
    assert "digits.md: differs" in result.stderr


def test_write_and_check_exclude_each_other(root):
    assert "exclude" in message(call(root, "--write", "--check"))


def test_importing_the_command_is_light():
    heavy = ("pandas", "numpy", "torch", "rich", "scipy")
    code = f"import sys, kdbench.cli.leaderboard; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_methods_and_sort(root):
    Store(root).write(cell("hinton", 0.55))
    shown = call(root, "--format", "csv", "--methods", "mimic[weight=2], hinton", "--sort", "method").stdout
    assert [line.split(",")[8] for line in shown.splitlines()[1:]] == [
        "teacher",
        "none",
        "hinton",
        "mimic[weight=2]",
    ]
    assert "no row is named 'x'" in message(call(root, "--methods", "x"))
    assert "--methods is empty" in message(call(root, "--methods", ","))
    assert "unbalanced" in message(call(root, "--methods", "a[b"))
    assert "no column" in message(call(root, "--sort", "x"))


def test_several_datasets_and_a_benchmark_file(root, tmp_path):
    for record in cells("none", {0: 0.5}, dataset="voc"):
        Store(root).write(record)
    shown = call(root, "voc", "digits", "--format", "csv").stdout.splitlines()
    assert [line.split(",")[0] for line in shown[1:]] == ["voc"] * 2 + ["digits"] * 3
    file = tmp_path / "mine.yaml"
    file.write_text(
        "{title: T, dataset: digits, pairs: [digits-faster-rcnn], seeds: 0..1, methods: [hinton]}"
    )
    shown = call(root, str(file), "--format", "markdown").stdout
    assert "| hinton |  |  |  |  |  |  | 2 missing | not run |" in shown
    assert "cannot read benchmark" in message(call(root, str(tmp_path / "absent.yaml")))


def test_a_page_of_a_benchmark_file(root, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("{title: T, dataset: digits, pairs: [digits-gfl], seeds: 0..1, methods: [hinton]}")
    result = call(root, str(file), "--format", "html", "--output", str(tmp_path / "page"))
    assert result.stdout.strip() == str(tmp_path / "page" / "index.html")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "2 missing" in page
    assert "mimic[weight=2]" not in page
    assert "cannot read benchmark" in message(call(root, "absent.yaml", "--format", "html", "--output", "x"))


def test_a_page_reads_each_record_once_and_tells_broken_files_once(root, tmp_path, monkeypatch):
    (root / "records/digits/tiny/cut.json").write_text("{")
    reads, read = [], Store.records
    monkeypatch.setattr(Store, "records", lambda *asked: reads.append(asked) or read(*asked))
    result = call(root, "--format", "html", "--output", str(tmp_path / "page"))
    assert len(reads) == 1
    assert result.stderr.count("cut.json") == 1
    assert "1 record file that cannot be read" in (tmp_path / "page" / "index.html").read_text()


def test_across(root):
    assert "two rankings" in message(call(root, "--across"))
    for record in [
        *cells("none", {0: 0.5}, dataset="voc"),
        *cells("mimic[weight=2]", {0: 0.6}, dataset="voc"),
    ]:
        Store(root).write(record)
    shown = call(root, "--across").stdout
    assert "2 of 2 rankings (digits: tiny; voc: tiny)" in shown
    assert "critical difference" in shown
    assert call(root, "--across", "--format", "csv").stdout.startswith("comparison,rankings,where,method,")
    assert "across.tex" in call(root, "--across", "--format", "latex", "--output", str(root / "o")).stdout


def test_output_writes_a_file_each(root):
    result = call(root, "--format", "markdown", "--output", str(root / "out"))
    assert result.stdout.splitlines() == [str(root / "out" / "digits.md")]
    assert "kdbench run --method 'mimic[weight=2]'" in (root / "out" / "digits.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "parquet"], "--output DIR"),
        (["--format", "html"], "--output DIR"),
        (["--output", "x"], "needs a --format"),
        (["--write", "--format", "csv"], "takes datasets and --results only"),
        (["--check", "--across"], "takes datasets and --results only"),
        (["--write", "x.yaml"], "benchmark files"),
        (["--across", "--sort", "mean"], "sorted by average rank"),
        (["--format", "html", "--output", "x", "--sort", "mean"], "the page of --format html"),
    ],
)
def test_contradictions(root, arguments, told):
    assert told in message(call(root, *arguments))


def test_importing_kdbench_is_light():
    code = "import sys, kdbench; kdbench.leaderboard; print({'pandas', 'numpy', 'pydantic'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_the_papers_report(kdbench, tmp_path):
    printed = kdbench("leaderboard", "--reported", "camvid", "--methods", "cirkd", "--format", "csv").out
    assert printed.splitlines() == [
        "dataset,metric,teacher,student,method,score,plain,vs plain,teacher score,source,where",
        "CamVid,mIoU,DeepLabV3-R101,DeepLabV3-R18,cirkd,68.21,66.92,+1.29,69.84,C,README",
        "CamVid,mIoU,DeepLabV3-R101,PSPNet-R18,cirkd,68.65,66.73,+1.92,69.84,C,README",
    ]
    assert "What the papers report" in kdbench("leaderboard", "--reported").out
    done = kdbench("leaderboard", "--reported", "--format", "markdown", "--output", str(tmp_path))
    assert done.out == f"{tmp_path / 'reported.md'}\n"
    assert "| COCO | mAP | RetinaNet-X101 | RetinaNet-R50 |" in (tmp_path / "reported.md").read_text()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--across"], "--reported is printed as table, csv, markdown or latex"),
        (["--format", "html", "--output", "x"], "the page of --format html has it"),
        (["--check"], "--check takes datasets and --results only"),
        (["digits"], "no number on 'digits' is reported here"),
    ],
)
def test_reported_numbers_and_other_options(kdbench, more, told):
    done = kdbench("leaderboard", "--reported", *more)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
