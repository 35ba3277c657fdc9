from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdbench.changes import change
from kdbench.errors import UserError
from kdbench.plugins import registry
from kdbench.results.store import Store
from kdbench.runs.plan import plan, resolved, stored
from kdbench.runs.request import SMOKE, Request, overridden
from kdbench.specs import RunSpec, Schedule, TeacherSpec, digest, unlabelled


@pytest.fixture
def asked(small_digits):
    """Plans a request on digits: ``asked(method="hinton", settings=(...))``."""

    def make(**changes: Any) -> Any:
        request = Request(**{"method": "hinton", "dataset": "digits", "data_root": small_digits, **changes})
        return plan(request)

    return make


def refused(make, **changes) -> str:
    with pytest.raises(UserError) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def default_pair() -> Any:
    return registry().pairs_of("digits")[0]


def test_a_default_run(asked, small_digits):
    made = asked()
    assert made.folder == small_digits / "digits"
    assert made.cell.pair == made.plain.pair == resolved(default_pair())
    assert (made.cell.method, made.cell.selector, made.cell.schedule) == ("hinton", "hinton", "default")
    assert (made.plain.method, made.plain.teacher) == ("none", None)
    assert made.cell.teacher == made.teacher.identity()
    assert (made.cell.revision, made.plugin.partition(" ")[0]) == (made.card.revision, "kdbench")


def test_what_is_stored_has_the_identity_of_the_spec(asked):
    made = asked(settings=("student.backbone.strides=[1, 2, 2, 2]",), method="hinton[temperature=2.5]")
    for spec in (made.cell, made.plain, made.teacher):
        assert digest(unlabelled(stored(spec))) == spec.identity()


def test_methods_and_seeds_share_what_they_can(asked):
    first, other, seed = asked(), asked(method="mimic[variant=gt-boxes]"), asked(seed=3)
    assert first.plain == other.plain
    assert first.teacher == other.teacher == seed.teacher
    assert first.plain != seed.plain
    assert len({made.cell.identity() for made in (first, other, seed)}) == 3


def test_the_plain_student_is_its_own_cell_and_has_no_teacher(asked):
    made = asked(method="none")
    assert made.cell == made.plain == asked().plain
    assert made.teacher is None


def test_a_control_is_the_plain_student_with_a_longer_recipe(asked):
    plain, control = asked(method="none"), asked(method="none[time=1.7]")
    assert (control.plain, control.teacher, control.cell.teacher) == (plain.cell, None, None)
    assert control.cell.identity() != plain.cell.identity()
    assert control.cell.pair == plain.cell.pair, "it is ranked with the others: their recipe hash is the same"
    own, longer = plain.cell.recipe, control.cell.recipe
    assert own == plain.cell.pair.schedule
    assert (longer.iterations, longer.warmup) == (round(1.7 * own.iterations), round(1.7 * own.warmup))
    assert longer == own.model_copy(update={"iterations": longer.iterations, "warmup": longer.warmup})
    assert asked(method="none[time=1]").cell == plain.cell
    assert plain.cell.options == {}, "the plain student's identity is what it was"
    assert "greater than or equal to 1" in refused(asked, method="none[time=0.5]")


def test_a_selector_is_canonical(asked):
    assert asked(method=" hinton[ temperature = 2.50 ]").cell.selector == "hinton[temperature=2.5]"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "default"),
        ({"schedule": "smoke"}, "smoke"),
        ({"schedule": "smoke", "settings": ("schedule.lr=0.1",)}, "smoke"),
        ({"settings": ("schedule.lr=0.1",)}, "custom"),
        ({"from_scratch": True}, "custom"),
        ({"teacher": "mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py"}, "custom"),
    ],
)
def test_a_changed_recipe_is_never_called_default(asked, changes, kind):
    made = asked(**changes)
    assert {made.cell.schedule, made.plain.schedule, made.teacher.schedule} == {kind}


def test_smoke_shortens_both_trainings_and_settings_win(asked):
    made = asked(schedule="smoke", settings=("schedule.iterations=9",))
    assert made.teacher.recipe.iterations == SMOKE["iterations"]
    assert made.cell.pair.schedule.iterations == 9
    assert made.cell.pair.schedule.batch_size == SMOKE["batch_size"]


def test_settings_change_schedules_and_models(asked):
    made = asked(
        settings=("teacher_schedule.scale=[64, 48]", "student.backbone.depth=34", "student.neck.x={a: 1}")
    )
    assert made.teacher.recipe.scale == (64, 48)
    assert made.cell.pair.student.edits["backbone.depth"] == 34
    assert made.cell.pair.student.edits["neck.x"] == {"a": 1}
    assert made.cell.pair.teacher == resolved(default_pair()).teacher


def test_a_setting_without_effect_keeps_the_plain_student_apart(asked):
    assert asked(settings=("schedule.flip=0.25",)).plain.identity() != asked().plain.identity()


def test_the_pairs_of_the_registry_are_never_changed():
    before = default_pair().model_dump_json()
    overridden(default_pair(), Request("hinton", "digits", settings=("student.backbone.depth=50",)))
    assert default_pair().model_dump_json() == before


def test_an_own_config_counts_with_its_content(asked, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("model = dict(bbox_head=1)")
    first = asked(student=str(file)).cell
    assert first.pair.student.edits == {}
    file.write_text("model = dict(bbox_head=2)")
    assert asked(student=str(file)).cell.identity() != first.identity()


def test_a_plain_student_has_no_teacher_to_give(asked, tmp_path):
    file = tmp_path / "teacher.pth"
    file.write_bytes(b"weights")
    with pytest.raises(
        UserError, match="`teacher_checkpoints`: method 'none' has no teacher: leave them out"
    ):
        asked(method="none", teacher_checkpoints=(file,))


def test_a_given_checkpoint_counts_with_its_content_and_starts_from_nothing_else(asked, tmp_path):
    file = tmp_path / "teacher.pth"
    file.write_bytes(b"weights")
    other = tmp_path / "other.pth"
    other.write_bytes(b"other weights")
    with pytest.raises(UserError, match="2 different ones for 1 teacher"):
        asked(teacher_checkpoints=(file, other))
    with pytest.raises(UserError, match="1 different ones for 2 teacher"):
        asked(method="hinton[teachers=2]", teacher_checkpoints=(file, file))
    both = asked(method="hinton[teachers=2]", teacher_checkpoints=(file, other))
    assert [spec.checkpoint for spec in (both.teacher, *both.others)] == list(both.checkpoints)
    assert both.cell.teacher not in (both.teacher.identity(), both.others[0].identity())
    made = asked(teacher_checkpoints=(file,))
    assert list(made.checkpoints.values()) == [file]
    assert made.teacher.checkpoint == hashlib.sha256(b"weights").hexdigest()
    assert made.teacher.pretrained is False
    assert made.plain == asked().plain


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"method": "hintn"}, "unknown method 'hintn'. Did you mean 'hinton'?"),
        ({"method": "hinton["}, "'hinton[' is not a selector"),
        (
            {"method": "hinton[temprature=2]"},
            "hinton has no option 'temprature'. Did you mean 'temperature'?",
        ),
        (
            {"method": "hinton[temperature=warm]"},
            "option 'temperature' got 'warm', but input should be a valid number",
        ),
        (
            {"method": "hinton[temperature=-1]"},
            "option 'temperature' got '-1', but input should be greater than 0",
        ),
        ({"dataset": "digit"}, "unknown dataset 'digit'. Did you mean 'digits'?"),
        (
            {"dataset": "digits-seg", "method": "mimic"},
            "method 'mimic' is for detection; 'digits-seg' is segmentation.",
        ),
        ({"pair": "digits-glf"}, "unknown pair 'digits-glf'. Did you mean 'digits-gfl'?"),
        ({"student": "nowhere.py"}, "'nowhere.py' is neither a model's name"),
        ({"settings": ("lr=1",)}, "`settings` lr=1: write SECTION.key=value"),
        (
            {"settings": ("schedul.lr=1",)},
            "SECTION one of schedule, teacher_schedule, student, teacher, or inherit=true.",
        ),
        ({"settings": ("schedule.lr",)}, "`settings` schedule.lr: write SECTION.key=value"),
        ({"settings": ("schedule.=1",)}, "write SECTION.key=value"),
        (
            {"settings": ("schedule.iteration=5",)},
            "a schedule has no 'iteration'. Did you mean 'iterations'?",
        ),
        (
            {"settings": ("schedule.iterations=many",)},
            "`settings` schedule.iterations: Input should be a valid integer",
        ),
        (
            {"settings": ("schedule.iterations=0",)},
            "`settings` schedule.iterations: Input should be greater than 0",
        ),
        ({"settings": ("schedule.lr=.nan",)}, "`settings` schedule.lr: Input should be"),
        ({"settings": ("schedule.scale=[96]",)}, "`settings` schedule.scale"),
        ({"settings": ("schedule.scale=[96",)}, "`settings` schedule.scale=[96: the value is not YAML."),
        (
            {"settings": ("schedule.optimizer=Adam",)},
            "`settings` schedule.optimizer: Input should be 'SGD' or 'AdamW'.",
        ),
    ],
)
def test_bad_requests(asked, changes, told):
    assert told in refused(asked, **changes)


def test_a_pair_of_another_dataset(asked):
    other = next(name for name, offer in registry().pairs.items() if offer.value.dataset != "digits")
    told = refused(asked, pair=other)
    assert f"pair '{other}' is for dataset" in told
    assert default_pair().name in told


def test_a_dataset_without_a_pair(asked, monkeypatch):
    monkeypatch.setattr("kdbench.plugins.Registry.pairs_of", lambda *_: [])
    assert "dataset 'digits' has no pair" in refused(asked)


@pytest.mark.parametrize("there", [False, True])
def test_a_dataset_that_is_absent_or_empty(asked, monkeypatch, tmp_path, there):
    absent = replace(registry().dataset("digits").value, embedded=False)
    offer = replace(registry().dataset("digits"), value=absent)
    monkeypatch.setattr("kdbench.plugins.Registry.dataset", lambda *_: offer)
    if there:
        (tmp_path / "digits").mkdir()
    told = refused(asked, data_root=tmp_path)
    assert f"run `kdbench data prepare digits --root {tmp_path}`, with --from DIR" in told


@pytest.mark.parametrize(("iterations", "told"), [(100, True), (101, False)])
def test_a_recipe_that_is_all_warm_up_is_told(caplog, iterations, told):
    assert default_pair().schedule.warmup == 100
    overridden(default_pair(), Request("none", "digits", settings=(f"schedule.iterations={iterations}",)))
    line = "all 100 iterations of schedule are warm-up, so its learning rate never falls: set schedule.warmup too"
    assert (line in caplog.messages) is told


def test_settings_never_reach_beyond_their_section():
    values: dict[str, Any] = {"schedule": {}, "student": {"edits": {}}}
    change("schedule.lr=1e-3").apply(values)
    change("student.a.b=[1, two]").apply(values)
    assert values == {"schedule": {"lr": "1e-3"}, "student": {"edits": {"a.b": [1, "two"]}}}
    # YAML 1.1 reads 1e-3 as a word; pydantic makes it a number where one is due
    pair = overridden(default_pair(), Request("hinton", "digits", settings=("schedule.lr=1e-3",)))
    assert pair.schedule.lr == 0.001


STAGED = "quantization-mimic"


def test_a_method_may_ask_for_a_staged_teacher(asked):
    made, other = asked(method=STAGED), asked()
    assert made.teacher == other.teacher
    assert (made.plain, other.staged) == (other.plain, None)
    assert made.cell.teacher == made.staged.identity() != made.teacher.identity()
    assert made.staged.base == made.teacher.identity()
    assert digest(stored(made.staged)) == made.staged.identity()


def test_a_stage_is_a_share_of_the_teachers_recipe(asked):
    made = asked(method=STAGED)
    own, recipe = made.teacher.recipe, made.staged.recipe
    assert (recipe.iterations, recipe.warmup) == (own.iterations // 4, own.warmup // 4)
    assert recipe.lr == pytest.approx(own.lr / 10)
    changed = {"iterations", "warmup", "lr", "validations"}
    assert recipe.model_dump(exclude=changed) == own.model_dump(exclude=changed)
    assert Schedule.model_validate(recipe.model_dump()) == recipe
    assert asked(method=STAGED, schedule="smoke").staged.recipe.iterations == 1


@pytest.mark.parametrize("variant", ["student-only", "none"])
def test_some_options_ask_for_no_stage(asked, variant):
    made = asked(method=f"{STAGED}[variant={variant}]")
    assert made.staged is None
    assert made.cell.teacher == made.teacher.identity() == asked().teacher.identity()


def test_what_a_staged_teacher_depends_on(asked, tmp_path):
    file = tmp_path / "teacher.pth"
    file.write_bytes(b"weights")
    selectors = [STAGED, f"{STAGED}[step=2]", f"{STAGED}[variant=power-of-two]"]
    found = [asked(method=selector).staged for selector in selectors]
    given = asked(method=STAGED, teacher_checkpoints=(file,))
    longer = asked(method=STAGED, settings=("teacher_schedule.iterations=9",))
    found += [given.staged, longer.staged, asked(method=STAGED, schedule="smoke").staged]
    assert len({spec.identity() for spec in found}) == len(found)
    assert given.teacher.checkpoint is not None
    assert (given.staged.checkpoint, given.staged.pretrained) == (None, False)
    same = [asked(method=f"{STAGED}[weight=3]").staged, asked(method=STAGED, seed=5).staged]
    assert same == [found[0], found[0]]


def test_a_plugin_may_ask_for_a_stage(asked, add_plugin, monkeypatch):
    from kdbench.offers import ENVIRONMENT

    add_plugin(
        "their-kd",
        """
        from kdbench.specs import TeacherStage

        STAGE = TeacherStage(name="rectified", transform="torch.nn:ReLU", share=1, lr_factor=1)

        @hookimpl
        def kdbench_methods():
            return [card("theirs", teacher_stage=lambda options: STAGE)]
        """,
    )
    monkeypatch.setenv(ENVIRONMENT, "their-kd,kdbench")
    made = asked(method="theirs")
    assert made.staged.stage.title == "rectified teacher"
    assert made.staged.recipe.iterations == made.teacher.recipe.iterations


def test_committed_records_are_found_by_the_specs_of_today():
    """Stages came later: what has none keeps its identity."""
    kinds = {"teacher": TeacherSpec, "cell": RunSpec}
    records, _ = Store(Path(__file__).parents[2] / "results").records()
    plain = [record for record in records if "base" not in record.spec]
    assert {record.kind for record in plain} == set(kinds)
    for record in plain:
        assert kinds[record.kind].model_validate(record.spec).identity() == record.identity


def test_the_very_tiny_student_shares_its_teacher(asked):
    tiny, own = asked(method=STAGED, pair="digits-faster-rcnn-tiny"), asked(method=STAGED)
    assert (tiny.teacher, tiny.staged) == (own.teacher, own.staged)
    widths = [made.cell.pair.student.edits["backbone.base_channels"] for made in (own, tiny)]
    assert widths == [8, 4]
    assert own.cell.pair == resolved(default_pair())


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"device": "cuda"}, {"processes": 2}])
def test_where_and_how_precisely_it_is_run_makes_it_another_cell(asked, changes):
    here, there = asked(), asked(**changes)
    pairs = [(here.cell, there.cell), (here.plain, there.plain), (here.teacher, there.teacher)]
    assert all(one.identity() != other.identity() for one, other in pairs)


def test_what_only_names_things_is_no_part_of_an_identity(asked):
    cell = asked().cell
    named = cell.pair.model_copy(update={"title": "Other", "cpu": not cell.pair.cpu, "family": "dense"})
    other = cell.model_copy(update={"selector": "hinton[weight=1]", "pair": named})
    assert other.identity() == cell.identity()
    assert cell.model_copy(update={"pair": named.model_copy(update={"pretrained": True})}) != cell


def test_a_revision_makes_another_cell_and_a_version_does_not(add_plugin, asked):
    source = """
        @hookimpl
        def kdbench_methods():
            yield card("theirs", revision={})
    """
    found = []
    for number, (revision, version) in enumerate([(1, "1.0"), (1, "2.0"), (2, "2.0")]):
        add_plugin(f"their-kd{number}", source.format(revision), version=version)
        monkeypatched = ",".join(["kdbench", f"their-kd{number}"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KDBENCH_PLUGINS", monkeypatched)
            registry.cache_clear()
            made = asked(method="theirs")
        found.append((made.plugin, made.cell.identity()))
    assert [plugin for plugin, _ in found] == ["their-kd0 1.0", "their-kd1 2.0", "their-kd2 2.0"]
    assert found[0][1] == found[1][1] != found[2][1]


@pytest.mark.parametrize("revision", [0, -1, "2", True])
def test_a_revision_is_a_number_from_1_on(revision):
    with pytest.raises(ValueError, match="the revision of 'hinton' is"):
        replace(registry().method("hinton").value, revision=revision)


def test_a_pair_s_family_is_its_students(asked, caplog):
    caplog.set_level("INFO", "kdbench")
    declared = default_pair()
    wrong = declared.model_copy(update={"family": "dense"})
    assert resolved(wrong) == resolved(declared)
    assert asked(pair="digits-gfl").cell.pair.family == "dense"
    assert asked(pair="digits-gfl", student=FASTER).cell.pair.family == "two-stage"
    assert "says" not in caplog.text


FASTER = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
