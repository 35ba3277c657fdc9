"""The promises of a method, in the order of their checks. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

HEAVY = ("torch", "torchvision", "pandas", "mmengine", "mmcv", "mmdet", "mmseg")
"""Libraries that a card must not import."""


@dataclass(frozen=True)
class Promise:
    """One promise of the contract.

    Attributes:
        name: Name in reports.
        says: The promise.
        why: What goes wrong if it is broken.
        look: Part of the contract to read, ``module:object``.
        check: Function of :mod:`kdbench.conformance.checks`, ``module:function``.
        after: Promises that must be kept before this one is checked.
    """

    name: str
    says: str
    why: str
    look: str
    check: str
    after: tuple[str, ...] = ("families",)


CARD = "kdbench.api:MethodCard"
OPTIONS = "kdbench.api:Options"
METHOD = "kdbench.api:Method"
STEP = "kdbench.api:Step"

PROMISES = (
    Promise(
        "card",
        "the card is complete, and its method can be imported",
        "lists, reports and the citation of a result come only from the card.",
        CARD,
        "declared:complete",
        (),
    ),
    Promise(
        "light",
        f"the card imports none of {', '.join(HEAVY)}",
        "`kdbench list` and `--help` read every installed card: one slow import slows all of them.",
        "kdbench.hookspecs:kdbench_methods",
        "declared:light",
        (),
    ),
    Promise(
        "options",
        "defaults are valid, each option has a description, and invalid options are refused",
        "with a mistyped or impossible option a run would train for hours, and its row would have a wrong name.",
        OPTIONS,
        "declared:validated",
        (),
    ),
    Promise(
        "refusal",
        "every variant works in a family of each task on the card, and is refused with a reason in others",
        "a user must learn before the training that a method does not support a model.",
        f"{METHOD}.needs",
        "declared:refused",
        (),
    ),
    Promise(
        "families",
        "every variant trains in every family that it supports, and returns named scalar terms",
        "users expect that a listed method works on any pair of its tasks.",
        f"{METHOD}.losses",
        "training:trains",
        ("refusal",),
    ),
    Promise(
        "settings",
        "it does not change settings of torch, numpy and the process: dtype, threads, autocast, folder, ...",
        "they apply to all students that train in the process, and would change their results or their speed.",
        METHOD,
        "training:leaves_settings",
    ),
    Promise(
        "teacher",
        "a training does not change the teacher, and losses() does not change the contents of a step",
        "other students learn from the same teacher and the same images.",
        f"{STEP}.teacher",
        "training:untouched",
    ),
    Promise(
        "parameters",
        "parameters and buffers are made in build(), and terms learn only through these and the student's",
        "parameters that are made later are in no optimizer and no checkpoint: they never learn, or are lost when "
        "a run resumes.",
        f"{METHOD}.build",
        "batch:parameters",
        ("teacher",),
    ),
    Promise(
        "generator",
        "random numbers come from the step's generator, and the global generators are left alone",
        "numbers from global generators depend on everything drawn before, and seeding repeats the same numbers.",
        f"{STEP}.generator",
        "batch:generators",
        ("parameters",),
    ),
    Promise(
        "order",
        "the images of a batch in another order, with their captures and targets, give the same terms",
        "with boxes or masks of another image the student learns nothing useful, although the loss still falls.",
        f"{STEP}.targets",
        "batch:order",
        ("parameters",),
    ),
    Promise(
        "mirror",
        "a mirrored batch, with mirrored maps, boxes and masks, gives the same terms",
        "if boxes are read at other places than they have in the maps, the student learns something else.",
        f"{CARD}.directional",
        "batch:mirror",
        ("order",),
    ),
    Promise(
        "gradients",
        "each term gives the student a gradient, and the adapters learn",
        "a term that does not reach the student costs time and teaches nothing.",
        f"{METHOD}.losses",
        "training:reach",
    ),
    Promise(
        "finite",
        "all losses of 50 iterations are finite",
        "a loss that becomes NaN late wastes the whole training.",
        f"{METHOD}.losses",
        "training:fifty",
    ),
    Promise(
        "seed",
        "the same seed gives the same weights, bit for bit",
        "a result must be repeatable: draw random numbers from the step's generator, which the run seeds.",
        f"{METHOD}.losses",
        "training:seed",
        ("teacher",),
    ),
    Promise(
        "zero",
        "with weights of 0 the student equals the plain student, bit for bit",
        "otherwise the difference from the plain student is not only the method's effect.",
        f"{OPTIONS}.plain",
        "training:plain",
    ),
    Promise(
        "pack",
        "trained beside other students, it ends as it does alone, bit for bit",
        "a sweep trains students side by side: state that they share mixes their results.",
        METHOD,
        "training:pack",
        ("seed", "zero"),
    ),
    Promise(
        "resume",
        "interrupted and resumed, it ends as it does without interruption, bit for bit",
        "state that is neither a parameter nor a buffer is not in the checkpoint.",
        METHOD,
        "training:resume",
        ("seed", "parameters"),
    ),
    Promise(
        "export",
        "the exported student has the plain student's weights and no others",
        "users load it in plain mmdet or mmseg, which do not know adapters.",
        f"{METHOD}.build",
        "training:clean",
    ),
    Promise(
        "no-boxes",
        "images without any object give finite terms and gradients",
        "real datasets have such images, and a method that divides by the number of objects ends the training.",
        f"{STEP}.targets",
        "conditions:without_boxes",
    ),
    Promise(
        "one-box",
        "images with one object give finite terms and gradients",
        "a standard deviation or a rank of a single object is undefined.",
        f"{STEP}.targets",
        "conditions:with_one_box",
    ),
    Promise(
        "batch-of-one",
        "a batch of one image gives finite terms and gradients",
        "large models train with one image per device.",
        f"{STEP}.images",
        "conditions:batch_of_one",
    ),
    Promise(
        "odd-sizes",
        "images of odd and varying sizes give finite terms and gradients",
        "shapes are probed on one batch, but real batches vary in size.",
        f"{METHOD}.build",
        "conditions:odd_sizes",
    ),
    Promise(
        "amp",
        "in mixed precision the terms stay in at least float32, and gradients are finite",
        "sums of squares overflow in half precision.",
        "kdbench.api:student_and_teacher",
        "conditions:mixed",
    ),
    Promise(
        "device",
        "it trains, resumes, evaluates and exports on a device that is not the CPU",
        "on a GPU an adapter or a constant that stays on the CPU ends the run: parameters and buffers move; make "
        "other tensors on the device of a capture.",
        METHOD,
        "device:other",
        ("pack", "resume", "export", "amp"),
    ),
    Promise(
        "processes",
        "two processes hold the same student and the same method after every iteration",
        "state that each process updates from its own images diverges, and results depend on their number.",
        METHOD,
        "conditions:two",
        ("parameters",),
    ),
)
