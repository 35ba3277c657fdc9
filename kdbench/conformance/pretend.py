"""A simulated accelerator, which finds errors of a GPU run on a machine without a GPU.

Its tensors are on the device ``pretend:0``. Operators compute on the CPU, so values are real and code that depends
on them (sampling, NMS) takes its usual path; autograd, optimizers, state dicts, checkpoints, autocast and pinned
memory work. An operator with tensors of both devices fails as with CUDA. :func:`count` counts the operators that a
block launches and how often it makes the host wait.

:func:`install` makes it the accelerator of the process permanently, so use a separate process::

    python -m kdbench.conformance.pretend run --method mimic --dataset digits --schedule smoke

It has one index, no streams, no default generator (random numbers are the CPU's), no memory of its own (figures
are the process's) and the CPU's memory formats. ``torch.accelerator`` names it but cannot synchronise it; use
``torch.get_device_module``. Operators of compiled extensions other than torchvision's have not been tried.
"""

from __future__ import annotations

import copy
import runpy
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import return_and_correct_aliasing

NAME = "pretend"
aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default, aten._foreach_copy_.default}
"""Operators that accept tensors of both devices."""
INDEXED = {
    aten.index.Tensor,
    aten.index_put_.default,
    aten.index_put.default,
    aten._index_put_impl_.default,
}
"""Operators whose indices may be on the CPU."""
JOINED = {aten.cat.default, aten.stack.default}
"""Operators that accept no tensor of the CPU, not even one without dimensions."""
WAITS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.bincount.default,
    aten.item.default,
    aten.repeat_interleave.Tensor,
}
"""Operators whose result the host waits for."""


@dataclass(eq=False)
class DeviceCost:
    """Cost of a block on a GPU.

    Attributes:
        ops: Number of launched operators; views are not launched.
        syncs: Number of times that the host waited for the device.
        where: Operator -> number of times that the host waited for it.
    """

    ops: int = 0
    syncs: int = 0
    where: Counter[str] = field(default_factory=Counter)


_counts: list[DeviceCost] = []
_pinned: set[int] = set()
"""Addresses of the storages in pinned memory."""
_kept: list[Any] = []
"""References to libraries, which would unregister their operators if they were collected."""


@contextmanager
def count() -> Iterator[DeviceCost]:
    """Count the operators that a block launches and how often the host waits."""
    counts = DeviceCost()
    _counts.append(counts)
    try:
        yield counts
    finally:
        _counts.remove(counts)


def sync(name: str) -> None:
    """Record that the host waits for an operator; replace this function to find out where."""
    for counts in _counts:
        counts.syncs += 1
        counts.where[name] += 1


class PretendTensor(torch.Tensor):
    """A CPU tensor that pretends to be on the simulated device."""

    host: Tensor
    """CPU tensor with the values."""

    @staticmethod
    def __new__(cls: type[PretendTensor], inner: Tensor) -> PretendTensor:
        """Wrap a CPU tensor."""
        made: PretendTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=torch.device(NAME, 0),
            requires_grad=False,
        )
        return made

    def __init__(self, inner: Tensor) -> None:
        self.host = inner

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"{self.host!r} on {NAME}"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operator."""
        return run(func, args, kwargs or {})

    def tolist(self) -> Any:
        """Return the values, for which the host waits."""
        sync("tolist")
        return self.host.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made: Tensor = PretendTensor(copy.deepcopy(self.host, memo))
        if isinstance(self, torch.nn.Parameter):
            made = torch.nn.Parameter(made, self.requires_grad)
        else:
            made.requires_grad_(self.requires_grad)
        memo[id(self)] = made
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle from a CPU tensor, as torch does for devices whose storages it cannot write."""
        values = self.detach().cpu(), self.dtype, str(self.device), self.requires_grad
        return torch._utils._rebuild_device_tensor_from_cpu_tensor, values


def _state_of(generator: Any) -> int:
    """Return the address of a generator's state."""
    return int(generator._cdata)


class PretendGenerator(torch.Generator):
    """A generator of the device, which draws the CPU's numbers.

    Operators receive it as a plain ``torch.Generator`` with the same state, so it is identified by its state.
    """

    living: ClassVar[set[int]] = set()

    def __init__(self) -> None:
        self.living.add(_state_of(self))

    def __del__(self) -> None:
        self.living.discard(_state_of(self))


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operator on the CPU as if it ran on the simulated device.

    Raises:
        RuntimeError: If its arguments are tensors of both devices.
    """
    _refuse_strangers(func, args, kwargs)
    target = kwargs.get("device")
    leaves = target is not None and torch.device(target).type == "cpu"
    _note(func, args, kwargs, leaves)
    out = func(*_each(_inner, args), **_each(_inner, kwargs))
    if leaves:
        return out
    if func is aten.copy_.default and not isinstance(args[0], PretendTensor):
        return args[0]
    made = _each(_outer, out)
    return return_and_correct_aliasing(func, args, kwargs, made)  # type: ignore[no-untyped-call]


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    """Apply a change to all values in lists, tuples and dicts; torch's pytree takes half of an operator's time."""
    if isinstance(value, dict):
        return {key: _each(change, part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_each(change, part) for part in value)
    return change(value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value


def _inner(value: Any) -> Any:
    if isinstance(value, PretendTensor):
        return value.host
    return torch.device("cpu") if isinstance(value, torch.device) else value


def _outer(value: Any) -> Any:
    return (
        PretendTensor(value) if isinstance(value, Tensor) and not isinstance(value, PretendTensor) else value
    )


def _is_on_it(value: Any) -> bool:
    return isinstance(value, PretendTensor)


def _refuse_strangers(func: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Refuse tensors of both devices; as with CUDA, a CPU tensor without dimensions counts as a number."""
    if func in COPIES:
        return
    if func in INDEXED and not isinstance(args[0], PretendTensor) and any(map(_is_on_it, args[1])):
        raise RuntimeError(f"indices should be either on cpu or on the device of the indexed tensor ({func})")
    values = args if func not in INDEXED else (args[0], *args[2:])
    least = 0 if func in JOINED else 1
    for leaf in _leaves([values, kwargs]):
        if isinstance(leaf, Tensor) and not isinstance(leaf, PretendTensor) and leaf.dim() >= least:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found {NAME}:0 and cpu ({func})"
            )
    generator = kwargs.get("generator")
    if isinstance(generator, torch.Generator) and _state_of(generator) not in PretendGenerator.living:
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu' ({func})")


def _note(func: Any, args: Any, kwargs: dict[str, Any], leaves: bool) -> None:
    if not _counts:
        return
    views = any(made.alias_info is not None and not made.alias_info.is_write for made in func._schema.returns)
    for counts in _counts:
        counts.ops += not views
    if func in WAITS or _waits(func, args, kwargs, leaves):
        sync(str(func))


def _waits(func: Any, args: Any, kwargs: dict[str, Any], leaves: bool) -> bool:
    """Whether the host waits: for a copy between the devices, or for the number of rows of a mask."""
    if func in INDEXED:
        return _waits_for_rows(func, args)
    if func is aten.copy_.default:
        host = [a for a in args[:2] if isinstance(a, Tensor) and not isinstance(a, PretendTensor)]
        without = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
        return any(a.dim() and not (without and is_pinned(a)) for a in host)
    if func is aten._to_copy.default:
        return not kwargs.get("non_blocking", False) and (leaves or not isinstance(args[0], PretendTensor))
    return leaves


def _waits_for_rows(func: Any, args: Any) -> bool:
    indices = [index for index in args[1] if index is not None]
    if any(not isinstance(index, PretendTensor) for index in indices):
        return True
    masks = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
    return masks and (func is aten.index.Tensor or args[2].numel() != 1)  # filling does not wait


def is_pinned(tensor: Tensor, device: Any = None) -> bool:
    """Whether a CPU tensor is in simulated pinned memory."""
    return tensor.untyped_storage().data_ptr() in _pinned


def _pin_memory(tensor: Tensor, device: Any = None) -> Tensor:
    made = tensor.clone()
    storage = made.untyped_storage()
    _pinned.add(storage.data_ptr())
    weakref.finalize(storage, _pinned.discard, storage.data_ptr())
    return made


def _made(func: Any) -> Callable[..., Tensor]:
    def make(*args: Any, device: Any = None, pin_memory: Any = None, **kwargs: Any) -> Tensor:
        return PretendTensor(func(*args, device="cpu", **kwargs))

    return make


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    sync("copy between the devices")
    _inner(target).copy_(_inner(source))
    return target


def _memory(*_: Any) -> int:
    return int(psutil.Process().memory_info().rss)


MODULE: dict[str, Callable[..., Any]] = {
    "synchronize": lambda *_: None,
    "empty_cache": lambda: None,
    "get_device_name": lambda *_: "pretended accelerator",
    "memory_allocated": _memory,
    "memory_reserved": _memory,
    "max_memory_allocated": _memory,
    "reset_peak_memory_stats": lambda *_: None,
    "mem_get_info": lambda *_: (psutil.virtual_memory().available, psutil.virtual_memory().total),
    "Generator": PretendGenerator,
    "get_amp_supported_dtype": lambda: [torch.float16, torch.bfloat16],
    "manual_seed": lambda _seed: None,
    "get_rng_state": lambda *_: torch.get_rng_state(),
    "set_rng_state": lambda _state, *_: None,
}
"""Functions of the device's module, see ``torch.get_device_module``."""


def install() -> None:
    """Make the simulated device the accelerator of this process; a second call does nothing."""
    if _kept:
        return
    from torch.optim.optimizer import _foreach_supported_types
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    from kdbench import devices
    from kdbench.conformance.pretend_autocast import library_of, register

    _setup_privateuseone_for_python_backend(NAME)
    _foreach_supported_types.append(PretendTensor)  # optimizers take their multi-tensor path, as on CUDA
    for name, value in MODULE.items():
        setattr(torch.get_device_module(NAME), name, value)
    library, everything = library_of("aten"), library_of("_")
    for operator, implementation, key in _operators():
        library.impl(operator, implementation, key)
    everything.fallback(lambda func, *args, **kwargs: run(func, args, kwargs), "PrivateUse1")
    # It has no storages: storages that are loaded to it stay on the CPU.
    torch.serialization.register_package(
        0, lambda _storage: None, lambda storage, place: storage if place.startswith(NAME) else None
    )
    _kept.extend([library, everything, *register(NAME)])
    devices.accelerator.cache_clear()


def _operators() -> Sequence[tuple[str, Callable[..., Any], str]]:
    return (
        ("empty.memory_format", _made(aten.empty.memory_format), "PrivateUse1"),
        ("empty_strided", _made(aten.empty_strided.default), "PrivateUse1"),
        ("_copy_from", _copy_from, "PrivateUse1"),
        ("is_pinned", is_pinned, "CPU"),
        ("_pin_memory", _pin_memory, "CPU"),
    )


if __name__ == "__main__":
    from kdbench.conformance import pretend  # imported by name, since this module is __main__ here

    pretend.install()
    runpy.run_module("kdbench", run_name="__main__")
