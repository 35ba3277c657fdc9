"""Reads weights from checkpoints of OpenMMLab and other tools, without executing what a file holds."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kdbench.errors import GateError, UserError
from kdbench.text import line

LEAST_SHARE = 0.5
"""A checkpoint with a smaller share of the model's weights counts as another architecture's."""

SHOWN = 3
"""Names of weights that a message shows of a file and of a model."""
MISSED_SHOWN = 6
"""Missing weights that a message names."""
SHOWN_LETTERS = 60
PREFIXES = 4
"""Number of prefixes of a file's names that are tried, the most frequent ones."""

COUNTER = "num_batches_tracked"
"""A BatchNorm layer's count of batches, which older checkpoints lack and no forward pass in evaluation reads."""


class Inert:
    """Replaces what mmengine saves beside the weights (logs, numpy scalars); holds and does nothing.

    mmengine's own list of safe globals has ``getattr``, through which a file can reach any builtin and run
    anything. Here such names are read as this class, and nothing of theirs is called.
    """

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None: ...


INERT = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "argparse.Namespace",
    "pathlib.PosixPath",
    "builtins.getattr",
    "builtins.slice",
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
)
"""Classes and functions in checkpoints of mmengine, torchdistill and DETR that are read as :class:`Inert`."""


@dataclass(frozen=True)
class MatchedPart:
    """A part of a checkpoint, read as a model's weights.

    Attributes:
        whole: The state dict that it is in.
        prefix: Prefix of the model's names in it.
        state: The part's tensors, by the model's names.
        share: Share of the model's weights that it has, in [0, 1].
    """

    whole: Mapping[str, Tensor]
    prefix: str
    state: Mapping[str, Tensor]
    share: float


def load_weights(
    model: nn.Module,
    file: Path,
    revise_keys: Sequence[tuple[str, str]] = (),
    rows: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, str]:
    """Load the weights of a checkpoint whose names and shapes match the model's, as :func:`weights_in` finds them.

    Args:
        model: Changed in place.
        file: The checkpoint.
        revise_keys: As :func:`weights_in` takes them.
        rows: Name of a weight -> the rows of the file's weight to take, in this order; None takes all.

    Returns:
        Name of each weight or statistic that was not loaded, and so keeps its value -> the reason.

    Raises:
        UserError: As :func:`weights_in` does. The model is unchanged then.
    """
    own, state = model.state_dict(), dict(weights_in(model, file, revise_keys))
    for name, taken in (rows or {}).items():
        if name in state:
            state[name] = state[name][list(taken)]
    matching = {name: value for name, value in state.items() if _matches(own, name, value)}
    model.load_state_dict(matching, strict=False)
    missed = [name for name in own if name not in matching and not name.endswith(COUNTER)]
    return {name: _difference(own[name], state.get(name)) for name in missed}


def weights_in(
    model: nn.Module, file: Path, revise_keys: Sequence[tuple[str, str]] = ()
) -> Mapping[str, Tensor]:
    """Return the weights of a checkpoint by the names that they have in a model.

    The weights may be under any key and behind any prefix: ``state_dict``, ``model``, ``module.``,
    ``_orig_mod.``, ``student.`` and the like; the part that fits best is taken. Averaged weights under a key of
    their own (``ema_state_dict``) are only taken where there are no others: where mmengine's EMAHook wrote the
    file, the averaged weights are in ``state_dict``, and ``ema_state_dict`` has the raw ones.

    Args:
        model: The model.
        file: The checkpoint: of torch, or safetensors.
        revise_keys: Regexes and replacements that give foreign weights the model's names, applied in this order.

    Raises:
        UserError: If the file does not exist, is no checkpoint or truncated, could only be read by executing it,
            is of another architecture, holds several models that fit, or has values that are no finite floats.
    """
    own = model.state_dict()
    states = [_renamed(state, revise_keys) for state in state_dicts(file)]
    fits = [fit for state in states for fit in _fits(own, state)]
    best = max(fits, key=lambda fit: fit.share)
    if best.share < LEAST_SHARE:
        first, wanted = map(_shown, (states[0], own))
        raise UserError(
            f"checkpoint {file} is of another architecture: it fits {best.share:.0%} of the weights of "
            f"{type(model).__name__}. Give the checkpoint of this config; this one's names begin with {first}, the "
            f"model's with {wanted}."
        )
    for name, value in best.state.items():
        if _matches(own, name, value) and (fault := _fault_of(own[name], value)):
            raise UserError(f"checkpoint {file} cannot be used: {line(name, SHOWN_LETTERS)} {fault}.")
    others = [
        fit for fit in fits if fit.whole is best.whole and fit.share == best.share and _differ(fit, best)
    ]
    if others:
        prefixes = " and ".join(repr(fit.prefix) for fit in (best, *others))
        raise UserError(
            f"checkpoint {file} has several models that fit, under {prefixes}: save the one that you mean alone."
        )
    return best.state


def _fits(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[MatchedPart]:
    """Match a state dict without a prefix and with each that occurs before the model's names."""
    found = Counter(name[: -len(tail)] for name in state for tail in _tails(name) if tail in own)
    prefixes = ["", *(prefix for prefix, _ in found.most_common(PREFIXES) if prefix)]
    return [_fit(own, state, prefix) for prefix in prefixes]


def _tails(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[at:]) for at in range(len(parts))]


def _fit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], prefix: str) -> MatchedPart:
    inner = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    loaded = sum(value.numel() for name, value in inner.items() if _matches(own, name, value))
    return MatchedPart(state, prefix, inner, loaded / max(sum(value.numel() for value in own.values()), 1))


def _matches(own: Mapping[str, Tensor], name: str, value: Tensor) -> bool:
    return name in own and own[name].shape == value.shape


def _fault_of(wanted: Tensor, found: Tensor) -> str:
    """Return why the values of a weight cannot be taken over, in words; empty where they can."""
    if found.layout is not torch.strided or found.is_quantized or found.is_meta:
        return "is sparse, quantized or without values: save dense tensors of floats"
    if wanted.is_floating_point() and not found.is_floating_point():
        return f"has values of {found.dtype}: save floats"
    return "" if torch.isfinite(found).all() else "has values that are not finite"


def _shown(names: Iterable[object]) -> str:
    """Return the first of a file's names, as a message shows them."""
    return ", ".join(line(str(name), SHOWN_LETTERS) for name in islice(names, SHOWN))


def _differ(one: MatchedPart, other: MatchedPart) -> bool:
    """Whether two parts that fit equally well have other values."""
    return not all(
        torch.equal(value, one.state[name]) for name, value in other.state.items() if name in one.state
    )


def _renamed(state: Mapping[str, Tensor], revise_keys: Sequence[tuple[str, str]]) -> Mapping[str, Tensor]:
    for pattern, replacement in revise_keys:
        state = {re.sub(pattern, replacement, name): value for name, value in state.items()}
    return state


def _difference(wanted: Tensor, found: Tensor | None) -> str:
    if found is None:
        return "not in the file"
    shapes = ["x".join(map(str, value.shape)) or "1" for value in (found, wanted)]
    return "{} in the file, {} here".format(*shapes)


def state_dicts(file: Path) -> list[Mapping[str, Tensor]]:
    """Return every state dict in a checkpoint, on the CPU; ``state_dict`` is first, averaged weights are last.

    Raises:
        UserError: As :func:`weights_in` says.
    """
    if not file.is_file():
        raise UserError(f"checkpoint {file} does not exist: check the path.")
    content = load(file)
    parts = content if isinstance(content, Mapping) else {}
    keys = sorted(parts, key=lambda key: (key != "state_dict", "ema" in str(key)))
    found = [_tensors(part) for part in (*(parts[key] for key in keys), parts)]
    states = [state for state in found if state]
    if not states:
        shown = _shown(parts) or type(content).__name__
        raise UserError(f"{file} holds no weights ({shown}): give a checkpoint with a state_dict.")
    return states


def read_state_dict(file: Path) -> Mapping[str, Tensor]:
    """Return the first of :func:`state_dicts`. Raises UserError as that does."""
    return state_dicts(file)[0]


def _tensors(part: object) -> Mapping[str, Tensor]:
    """Return the tensors of a mapping by name; none of anything else."""
    if not isinstance(part, Mapping):
        return {}
    return {str(name): value for name, value in part.items() if isinstance(value, Tensor)}


def inert() -> AbstractContextManager[None]:
    """Return a context in which torch's safe loader accepts what mmengine saves beside the weights."""
    return torch.serialization.safe_globals([(Inert, name) for name in INERT])  # type: ignore[no-any-return]


def is_safetensors(file: Path) -> bool:
    """Whether a file begins as safetensors does: with the length of its JSON header in 8 bytes, and the header."""
    with file.open("rb") as opened:
        start = opened.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < file.stat().st_size


def load(file: Path, map_location: Any = "cpu") -> Any:
    """Read a file that torch or safetensors wrote, without executing what it holds.

    Raises:
        UserError: As :func:`weights_in` says.
    """
    try:
        if is_safetensors(file):
            return load_file(file)
        with inert():
            return torch.load(file, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        if culprit is None:
            raise UserError(_unreadable(file)) from error
        raise UserError(
            f"checkpoint {file} holds python objects that would have to be executed ({culprit[1]}); if you "
            "trust it, re-save it with only tensors: "
            "torch.save({'state_dict': model.state_dict()}, 'weights.pth')."
        ) from error
    except PermissionError as error:
        raise UserError(f"checkpoint {file} cannot be read: {error.strerror}.") from error
    except Exception as error:
        raise UserError(_unreadable(file)) from error


def _unreadable(file: Path) -> str:
    size = file.stat().st_size
    return f"{file} ({size} bytes) is truncated or no checkpoint: get it again, or give another file."


def check_loaded(missed: Mapping[str, str], file: Path) -> None:
    """Refuse a checkpoint that lacks layers of the model, which would stay random.

    Auxiliary heads may be missing: they take no part in a prediction, and published checkpoints lack them.

    Args:
        missed: What was not loaded, as :func:`load_weights` returns it.
        file: The checkpoint.

    Raises:
        GateError: With the layers and the reasons.
    """
    random = {name: why for name, why in missed.items() if not name.startswith("auxiliary_head")}
    if random:
        lines = [f"{name} ({why})" for name, why in list(random.items())[:MISSED_SHOWN]]
        more = f" and {len(random) - MISSED_SHOWN} more" if len(random) > MISSED_SHOWN else ""
        raise GateError(
            f"checkpoint {file} lacks weights of the model, which would stay random: {', '.join(lines)}{more}. "
            "Give a checkpoint that was trained with this config on the classes of this dataset."
        )


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 (hex) over the names, types, shapes and bytes of a model's state dict, sorted by name."""
    whole = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        whole.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        whole.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return whole.hexdigest()
