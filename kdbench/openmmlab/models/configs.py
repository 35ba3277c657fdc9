"""Makes the ``model`` part of an OpenMMLab config from a :class:`kdbench.specs.Model` and a dataset."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.utils import MODULE2PACKAGE

from kdbench.dataset_cards import Dataset
from kdbench.datasets.formats import format_of
from kdbench.errors import UserError
from kdbench.openmmlab.setup import LIBRARIES, one_line
from kdbench.specs import Family, Model, is_feature_network

IGNORING = ("MaxIoUAssigner", "ApproxMaxIoUAssigner", "ATSSAssigner")
"""Assigners of mmdet with an option to leave out anchors in ignored boxes."""
IGNORED = 0.5
"""Least share of an anchor's area in an ignored box for it to be neither target nor background."""
# mmengine looks for _base_ = "mmseg::x" in the distribution mmsegmentation, which may have another name
MODULE2PACKAGE["mmseg"] = "mmseg"
FEATURE_TEACHER = "FeatureTeacher"
"""Type of model that :mod:`kdbench.openmmlab.models.features` registers."""
FULL_WIDTH = 64
"""Channels after the stem of a ResNet as published."""
IMAGE_CHANNELS = 3
EMBEDDING = 256
"""Default of a DETR head's ``embed_dims``."""
SCALED = re.compile(r"(^|_)channels$|^(num_groups|embed_dims|num_feats)$")
"""Keys of a config whose values are scaled with the width."""


def config_file(reference: str) -> Path:
    """Return the file of a config; nothing is installed or downloaded for it.

    Args:
        reference: ``mmdet::x`` or ``mmseg::x`` for a config of these libraries, ``package::x`` for a file in the
            folder of any other installed package, or a file's path.

    Raises:
        UserError: If there is no such file.
    """
    package, separator, name = reference.partition("::")
    if not separator:
        path = Path(reference)
    else:
        path = (configs_of(package) if package in LIBRARIES.values() else _folder(package, reference)) / name
    if not path.is_file():
        where = f"{package}'s configs" if separator else "this folder"
        raise UserError(f"config '{reference}' is not in {where}: check the name.")
    return path


def configs_of(library: str) -> Path:
    """Return the folder of the configs in mmdet or mmseg. Raises UserError if the library is not installed."""
    return _folder(library, f"{library}::") / ".mim" / "configs"


def _folder(package: str, reference: str) -> Path:
    """Return the folder of an installed package without importing it."""
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or found.origin is None:
        raise UserError(
            f"config '{reference}': '{package}' is not installed: write mmdet::FILE, mmseg::FILE, the FILE of "
            "another installed package as PACKAGE::FILE, or a path (`kdbench doctor` says what is missing)."
        )
    return Path(found.origin).parent


def read_config(reference: str, *, import_modules: bool = True) -> Config:
    """Read a config with everything that it inherits.

    Args:
        reference: As for :func:`config_file`, or a feature teacher's ``SOURCE:NAME``, which has no file.
        import_modules: Whether to import its ``custom_imports``.

    Raises:
        UserError: If there is no such config, or it does not parse or has no model.
    """
    if is_feature_network(reference):
        return Config({"model": {"type": FEATURE_TEACHER, "features": reference}})
    path = config_file(reference)
    try:
        config = Config.fromfile(str(path), import_custom_modules=import_modules)
    except Exception as error:
        raise UserError(f"config '{reference}' does not parse: {_parse_error(error)}.") from error
    if not isinstance(config.get("model"), dict):
        raise UserError(f"config '{reference}' has no `model`: give an OpenMMLab model config.")
    return config


def own_modules(config: Config) -> list[str]:
    """Return the modules in a config's ``custom_imports``."""
    named = (config.get("custom_imports") or {}).get("imports") or []
    return [named] if isinstance(named, str) else [str(name) for name in named]


def revised_keys(config: Config) -> list[tuple[str, str]]:
    """Return a config's ``revise_keys``, regex and replacement, which rename weights in foreign checkpoints.

    They have the form of mmengine's ``load_checkpoint`` and must not change the model's own names.
    """
    return [(str(pattern), str(name)) for pattern, name in config.get("revise_keys") or ()]


def evaluation_size(reference: str) -> tuple[tuple[int, int], bool]:
    """Return width and height that a config's ``test_pipeline`` resizes to, and whether it keeps the aspect ratio.

    Raises:
        UserError: If the pipeline has no Resize with a scale.
    """
    for step in read_config(reference, import_modules=False).get("test_pipeline") or ():
        if step.get("type") == "Resize" and step.get("scale"):
            scale = step["scale"]
            width, height = (scale, scale) if isinstance(scale, int) else scale
            return (width, height), bool(step.get("keep_ratio", False))
    raise UserError(
        f"config '{reference}' has no Resize with a scale in its test_pipeline, which says at what size images "
        "are judged: add one."
    )


def _parse_error(error: Exception) -> str:
    """Return the first line of an error; for failing custom_imports, that of the first error."""
    if not isinstance(error, ImportError):
        return one_line(error)
    first: BaseException = error
    while isinstance(first.__context__, ImportError):
        first = first.__context__
    return f"its custom_imports fail ({first}): put the folder of that module on PYTHONPATH"


def model_config(model: Model, dataset: Dataset, *, pretrained: bool) -> ConfigDict:
    """Return the config's ``model`` with its edits, for the dataset's classes, with plain BN.

    Args:
        model: Config and edits.
        dataset: Provides the number of classes and the ignored mask value.
        pretrained: Whether to keep the initial weights that the config names.

    Raises:
        UserError: If the config does not parse, has no model, or is for another task than the dataset.
    """
    config = read_config(model.config)
    if not model.gives_features:
        check_library(model.config, config, dataset)
    edit(config.model, model)
    adapt(config.model, dataset, pretrained=pretrained)
    adapted: ConfigDict = config.model
    return adapted


def check_library(reference: str, config: Config, dataset: Dataset) -> None:
    """Raise UserError for a segmentation model on boxes, or a detector on masks."""
    has_decoder = "decode_head" in config.model
    if has_decoder != (dataset.task == "segmentation"):
        kind = "a segmentation" if has_decoder else "a detection"
        raise UserError(
            f"config '{reference}' is {kind} model, but dataset '{dataset.name}' is for {dataset.task}: "
            f"give an {LIBRARIES[dataset.task]} config."
        )


def check_trainable(config: ConfigDict) -> None:
    """Refuse a model that cannot be trained here.

    Raises:
        UserError: For TOOD, whose head changes its training after some epochs.
    """
    if any(part.get("type") == "TOODHead" for part in walk(config)):
        raise UserError(
            "TOODHead changes how it is trained with the epoch, and recipes here count iterations: use it as a "
            "teacher with a checkpoint, or choose another model."
        )


def family_of(config: ConfigDict) -> Family:
    """Return the family of a model's config.

    Raises:
        UserError: If kdbench does not know its family, or it gives feature maps alone.
    """
    if config.get("type") == FEATURE_TEACHER:
        raise UserError(
            f"'{config.features}' gives feature maps and predicts nothing: it can only be a teacher."
        )
    if "decode_head" in config:
        return "segmentation"
    embedded = config.get("rpn_head", {}).get("type") == "EmbeddingRPNHead"
    if "roi_head" in config and "rpn_head" in config and not embedded:
        return "two-stage"
    if "bbox_head" in config and "language_model" not in config:
        return "query" if "decoder" in config else "dense"
    raise UserError(
        f"model '{config.get('type')}' is of no known family (two-stage: rpn_head and roi_head; dense: a "
        "convolutional bbox_head; query: decoder and bbox_head; segmentation: decode_head): give another model."
    )


def edit(config: ConfigDict, model: Model) -> None:
    """Apply a model's width and edits to its config, in place.

    Raises:
        UserError: If there is a width and the backbone is no ResNet, or an edit does not fit.
    """
    if model.width is not None:
        make_narrow(config, model.width)
    for key, value in model.edits.items():
        set_key(config, key, value)


def make_narrow(config: ConfigDict, width: int) -> None:
    """Scale all channels to a ResNet with ``width`` channels after its stem, trained from scratch; in place."""
    backbone = config.get("backbone", {})
    if "ResNe" not in str(backbone.get("type")):
        raise UserError(
            f"backbone '{backbone.get('type')}' is no ResNet: give its channels as edits, without a width."
        )
    if "decoder" in config:
        config.bbox_head.setdefault("embed_dims", EMBEDDING)
    for part in list(walk(config)):
        for name in filter(SCALED.search, list(part)):
            value = part[name]
            several = isinstance(value, list | tuple)
            part[name] = [_scaled(each, width) for each in value] if several else _scaled(value, width)
    backbone.update(base_channels=width, stem_channels=width, frozen_stages=-1, norm_eval=False)
    drop_pretrained(config)


def _scaled(channels: Any, width: int) -> Any:
    """Scale a number of channels, except those of an image."""
    if not isinstance(channels, int) or channels <= IMAGE_CHANNELS:
        return channels
    return max(1, round(channels * width / FULL_WIDTH))


def set_key(config: Any, key: str, value: Any) -> None:
    """Set a dotted key; numbers index lists. A dict replaces a dict.

    Raises:
        UserError: If the config lacks a part before the last.
    """
    *parents, last = key.split(".")
    for part in parents:
        try:
            config = config[int(part)] if isinstance(config, list) else config[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise UserError(f"key '{key}': there is no '{part}' in the model's config.") from None
    if isinstance(config, dict):
        config[last] = ConfigDict(value) if isinstance(value, dict) else value
    elif isinstance(config, list) and last.isdecimal() and int(last) < len(config):
        config[int(last)] = value
    else:
        raise UserError(f"key '{key}': there is no '{last}' to set in the model's config.")


def adapt(model: ConfigDict, dataset: Dataset, *, pretrained: bool) -> None:
    """Fit a model's config to a dataset and to one device, in place."""
    preprocessor = model.get("data_preprocessor", {})
    if dataset.task == "segmentation":
        preprocessor["seg_pad_val"] = dataset.ignore_index
    for part in list(walk(model)):
        if "num_classes" in part and part is not model:
            part["num_classes"] = len(dataset.classes)
        if part.get("type") in ("SyncBN", "MMSyncBN"):
            part["type"] = "BN"
        if part.get("type") in IGNORING and format_of(dataset).ignores:
            part["ignore_iof_thr"] = IGNORED
    if "num_queries" in model:  # an upper bound on its detections
        test = model.get("test_cfg") or {}
        test["max_per_img"] = min(test.get("max_per_img", model["num_queries"]), model["num_queries"])
    if not pretrained:
        drop_pretrained(model)
    if dataset.task == "segmentation":
        for key in ("decode_head", "auxiliary_head"):
            for head in _as_list(model.get(key)):
                head["ignore_index"] = dataset.ignore_index


def initial_weights(config: ConfigDict) -> list[str]:
    """List the checkpoints that building the model would load, each once."""
    found = []
    for part in walk(config):
        found += [
            part.get("pretrained"),
            part.get("checkpoint") if part.get("type") == "Pretrained" else None,
        ]
    return list(dict.fromkeys(name for name in found if isinstance(name, str)))


def drop_pretrained(config: ConfigDict) -> None:
    """Remove every reference to initial weights, in place; other initialisations stay."""
    for part in list(walk(config)):
        part.pop("pretrained", None)
        rest = [one for one in _as_list(part.get("init_cfg")) if one.get("type") != "Pretrained"]
        if len(rest) != len(_as_list(part.get("init_cfg"))):
            part.pop("init_cfg")
            if rest:
                part["init_cfg"] = rest


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def walk(value: Any) -> Iterator[ConfigDict]:
    """Yield every dict in a nested config."""
    if isinstance(value, dict):
        yield value  # type: ignore[misc]
        for part in list(value.values()):
            yield from walk(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from walk(part)
