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
        "lists, reports and the citation of a result come from the card alone.",
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
        "defaults are valid, each option is explained, and what is wrong is refused",
        "a mistyped or impossible option would train for hours, and its row would carry a wrong name.",
        OPTIONS,
        "declared:validated",
        (),
    ),
    Promise(
        "refusal",
        "every variant works in a family of each task on the card and is refused with a reason elsewhere",
        "a user must hear before the training that a method and a model do not fit.",
        f"{METHOD}.needs",
        "declared:refused",
        (),
    ),
    Promise(
        "families",
        "it trains in every family that it claims, in each variant, and gives named scalar terms",
        "who sees the method on a list takes it to any pair of its tasks.",
        f"{METHOD}.losses",
        "training:trains",
        ("refusal",),
    ),
    Promise(
        "settings",
        "it leaves the settings of torch, numpy and the process as they are: dtype, threads, autocast, folder, ...",
        "they hold for all students that train in the process, and would change their numbers or their speed.",
        METHOD,
        "training:leaves_settings",
    ),
    Promise(
        "teacher",
        "the teacher is the same after a training as before, and what a step holds after losses() as before",
        "students beside it learn from the same teacher and the same images.",
        f"{STEP}.teacher",
        "training:untouched",
    ),
    Promise(
        "parameters",
        "parameters and buffers are made in build(), and terms learn through the student's and the method's alone",
        "what is made later is in no optimizer and in no checkpoint: it never learns, or is lost by a resumed run.",
        f"{METHOD}.build",
        "batch:parameters",
        ("teacher",),
    ),
    Promise(
        "generator",
        "random numbers come from the step's generator, and the global generators are left alone",
        "what is drawn from them depends on all that was drawn before, and seeding them repeats the same numbers.",
        f"{STEP}.generator",
        "batch:generators",
        ("parameters",),
    ),
    Promise(
        "order",
        "the images of a batch in another order, with their captures and targets, give the same terms",
        "boxes or masks of another image teach the student nothing, and the loss still falls.",
        f"{STEP}.targets",
        "batch:order",
        ("parameters",),
    ),
    Promise(
        "mirror",
        "a mirrored batch, with mirrored maps, boxes and masks, gives the same terms",
        "boxes that are read at other places than the maps have them teach the student something else.",
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
        "50 iterations without a loss that is not finite",
        "what becomes NaN late loses the whole training.",
        f"{METHOD}.losses",
        "training:fifty",
    ),
    Promise(
        "seed",
        "the same seed gives the same weights, bit for bit",
        "a result must be repeatable: random numbers come from the step's generator, which the run seeds.",
        f"{METHOD}.losses",
        "training:seed",
        ("teacher",),
    ),
    Promise(
        "zero",
        "at weights of 0 the student is the plain student, bit for bit",
        "else the difference to the plain student is not the method's alone.",
        f"{OPTIONS}.plain",
        "training:plain",
    ),
    Promise(
        "pack",
        "beside other students it ends as alone, bit for bit",
        "a sweep trains students side by side: state that they share mixes their results.",
        METHOD,
        "training:pack",
        ("seed", "zero"),
    ),
    Promise(
        "resume",
        "interrupted and resumed, it ends as if uninterrupted, bit for bit",
        "state that is neither a parameter nor a buffer is not in the checkpoint.",
        METHOD,
        "training:resume",
        ("seed", "parameters"),
    ),
    Promise(
        "export",
        "the exported student has the plain student's weights and no others",
        "users load it in plain mmdet or mmseg, which know nothing of adapters.",
        f"{METHOD}.build",
        "training:clean",
    ),
    Promise(
        "no-boxes",
        "images without any object give finite terms and gradients",
        "real datasets have such images, and one of them ends a training that divides by their number.",
        f"{STEP}.targets",
        "conditions:without_boxes",
    ),
    Promise(
        "one-box",
        "images with one object give finite terms and gradients",
        "a spread or a rank over one thing is not defined.",
        f"{STEP}.targets",
        "conditions:with_one_box",
    ),
    Promise(
        "batch-of-one",
        "a batch of one image gives finite terms and gradients",
        "large models train with one image a device.",
        f"{STEP}.images",
        "conditions:batch_of_one",
    ),
    Promise(
        "odd-sizes",
        "images of odd and changing sizes give finite terms and gradients",
        "probed shapes are those of one batch: real batches change their size.",
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
        "on a GPU an adapter or a constant that stays on the CPU ends the run: parameters and buffers move, other "
        "tensors are to be made on the device of a capture.",
        METHOD,
        "device:other",
        ("pack", "resume", "export", "amp"),
    ),
    Promise(
        "processes",
        "two processes hold the same student and the same method after every iteration",
        "state that each process changes by its own images drifts apart, and the result depends on their number.",
        METHOD,
        "conditions:two",
        ("parameters",),
    ),
)
