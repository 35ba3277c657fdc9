"""Random input to whatever reads what others write: a result, or one line; never another error."""

from __future__ import annotations

import io
import json
import random
import tarfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from kdbench.benchmarks import looked_up, parsed
from kdbench.cards import Options
from kdbench.datasets.boxes import judge, read_annotation
from kdbench.datasets.download import extract
from kdbench.datasets.layout import names_of
from kdbench.datasets.masks import mask_size, read_values
from kdbench.datasets.pictures import read_picture
from kdbench.errors import UserError
from kdbench.plugins import registry
from kdbench.results.contributed import add, check
from kdbench.results.store import Store
from kdbench.runs.packs import read_pack
from kdbench.runs.progress import read_progress
from kdbench.runs.request import Request, overridden
from kdbench.runs.status import Manifest, SweepReport
from kdbench.selectors import canonical, method_of

quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PAIR = registry().pair("digits-gfl").value
texts = st.text(st.characters(exclude_categories=()), max_size=40)
"""Lone surrogates and control characters among them."""
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def of_parts(*parts: str) -> st.SearchStrategy[str]:
    """Texts of parts that mean something to a reader, mixed with any."""
    return st.lists(st.sampled_from(parts) | texts, max_size=8).map("".join)


@quick
@given(
    of_parts(
        "mimic",
        "hinton",
        "[",
        "]",
        "weight=",
        "pooling=",
        ",",
        "crop",
        '"',
        "{",
        "}",
        "1e999",
        "nan",
        "&a",
        "*a",
    )
)
def test_selectors(text):
    with suppress(UserError):
        card, options = method_of(text)
        selector = canonical(card, options)
        assert selector.isprintable()
        assert method_of(selector) == (card, options)


@quick
@given(
    of_parts(
        "title: x\n",
        "dataset: digits\n",
        "pairs: [digits-gfl]\n",
        "methods: ",
        "[mimic]\n",
        "- ",
        "&a ",
        "*a",
        "<<: ",
        "!!python/name:os.system ",
        "seeds: 3\n",
        "? ",
        "{",
    )
)
def test_benchmarks(text):
    with suppress(UserError):
        looked_up(parsed(text, "x.yaml"), "x.yaml")


@quick
@given(
    of_parts(
        "schedule.",
        "teacher_schedule.",
        "student.",
        "iterations",
        "lr",
        "scale",
        "=",
        "1",
        "[1,2]",
        "!!python/object:os ",
        "&a [*a]",
        "backbone.depth",
        ".",
    )
)
def test_settings_of_the_command_line(setting):
    with suppress(UserError):
        overridden(PAIR, Request("none", "digits", settings=(setting,)))


@quick
@given(
    of_parts(
        "<annotation>",
        "</annotation>",
        "<object>",
        "</object>",
        "<name>1</name>",
        "<bndbox>",
        "</bndbox>",
        "<xmin>",
        "</xmin>",
        "1e400",
        "<!DOCTYPE x [<!ENTITY a 'b'>]>",
        "&a;",
        "<size><width>9</width><height>9</height></size>",
        "<?xml version='1.0' encoding='utf-7'?>",
    )
)
def test_annotations(text):
    with suppress(ValueError):
        judge(read_annotation(text.encode(errors="surrogatepass")), (9, 9), ("1",))


@quick
@given(texts)
def test_names_of_images(text):
    with suppress(ValueError):
        assert all(name not in ("", ".", "..") and "/" not in name for name in names_of(text, ".jpg"))


@quick
@given(
    st.sampled_from(["1", "L", "P", "RGB", "I;16", "LA", "F"]),
    st.sampled_from(["PNG", "TIFF", "BMP", "GIF"]),
    st.integers(0, 2**32 - 1),
)
def test_pictures_and_masks(tmp_path, mode, kind, seed):
    """Whole files, and files with some bytes changed or cut off."""
    draw = random.Random(seed)
    buffer = io.BytesIO()
    with suppress(OSError, ValueError, KeyError):  # that format has no such mode
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (6, 7), np.uint8)).convert(mode).save(
            buffer, kind
        )
    content = bytearray(buffer.getvalue())
    for _ in range(draw.randrange(4)):
        content[draw.randrange(len(content) or 1) :][:1] = bytes([draw.randrange(256)]) if content else b""
    file = tmp_path / "image"
    file.write_bytes(content[: draw.choice([None, len(content) // 2])])
    for choice in (False, True):
        with suppress(ValueError):
            read_picture(file, pixels=choice)
        for read in (mask_size, read_values):
            with suppress(ValueError):
                read(file, coloured=choice)


@settings(quick, max_examples=25)
@given(st.sampled_from(["w", "w:gz", "w:bz2", "w:xz"]), st.integers(0, 2**32 - 1), st.text(max_size=300))
def test_archives(tmp_path, mode, seed, name):
    """With some bytes changed, and names that no file system takes."""
    draw, file = random.Random(seed), tmp_path / "archive.tar"
    with tarfile.open(file, mode) as archive:
        for number in range(3):
            member = tarfile.TarInfo(draw.choice([name, f"{name}/x", f"a{number}", "a0/x"]) or "x")
            member.type = draw.choice([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
            member.linkname = draw.choice(["", "a0", "../a0", name])
            archive.addfile(member)
    content = bytearray(file.read_bytes())
    for _ in range(draw.randrange(6)):
        content[draw.randrange(min(len(content), 2000))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)
    with suppress(UserError):
        extract(file, tmp_path / f"out{seed}")


@pytest.fixture(scope="module")
def record():
    from samples_of_records import student

    return student()


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    yield path


@quick
@given(st.integers(0, 10_000), values)
def test_records(tmp_path, record, place, value):
    """One part of a record is anything: the store tells it, and `records add` takes or refuses it."""
    content = json.loads(json.dumps(record))
    paths = [path for path in leaves(content) if path]
    *parents, last = paths[place % len(paths)]
    inner = content
    for key in parents:
        inner = inner[key]
    inner[last] = value
    file = tmp_path / "results" / "records" / "digits" / "x" / "y.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    store = Store(tmp_path / "results")
    records, broken = store.records()
    assert len(records) + len(broken) == 1
    assert all("\n" not in str(bad) for bad in broken)
    check(store)
    verdict = add([file], Store(tmp_path / "other"))
    assert all(str(refusal) for refusal in verdict.refused)
    for path in verdict.added:
        path.unlink()


@quick
@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_files_between_a_sweep_and_its_workers(tmp_path, content):
    for name in ("sweep.json", "sweep-report.json", "progress.json", "pack.json"):
        (tmp_path / name).write_bytes(content)
    Manifest.read(tmp_path), SweepReport.read(tmp_path), read_progress(tmp_path)
    with pytest.raises(UserError):
        read_pack(tmp_path / "pack.json")


@quick
@given(st.dictionaries(texts, values, max_size=4))
def test_options_of_methods(given_values):
    for offer in registry().methods.values():
        with suppress(ValidationError):
            assert isinstance(offer.value.options.model_validate(given_values), Options)


CONFIG = (
    "model = ",
    "dict(",
    ")",
    "type='GFL'",
    "_base_ = ",
    "['x.py']",
    "'mmdet::x'",
    "\n",
    "=",
    "custom_imports = ",
    "{{",
    "}}",
    "_delete_=True",
    "1e999",
    "#",
)


@settings(quick, max_examples=25)
@given(of_parts(*CONFIG))
def test_configs(tmp_path, text):
    from kdbench.openmmlab.models.configs import read_config

    file = tmp_path / "config.py"
    file.write_text(text, errors="surrogatepass")
    with suppress(UserError):
        read_config(str(file))
