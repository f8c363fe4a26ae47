"""A GPU that is not there, to see whether code for one keeps its tensors where they belong.

Its tensors say that they lie on cuda:0 and hold their values on the CPU. As on a real one, an
operation on tensors of both places fails, and so does numpy() without cpu(). What it can't show:
speed, memory, rounding, and a backward pass, which needs CUDA itself: here it gives every parameter
the same gradient.

It changes torch for the whole process: import it before dpt_ros, in a process of its own.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from typing import Any

import torch
import torch.utils.data
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
_BETWEEN_DEVICES = ("_to_copy", "copy_", "_local_scalar_dense")
_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")
"""These take indices from the CPU for values on a GPU."""
GRADIENT = 1e-3


class OnGpu(torch.Tensor):
    """A tensor that says it lies on the GPU."""

    values: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> OnGpu:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=GPU,
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


class PretendGpu(TorchDispatchMode):
    """Within it, device="cuda" makes tensors of that kind."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


def _run(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = operation._schema.name.removeprefix("aten::")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    on_gpu = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    if not on_gpu and kwargs.get("device") is None:
        return operation(*args, **kwargs)
    goes_to_gpu = bool(on_gpu)
    if name in _BETWEEN_DEVICES:
        goes_to_gpu = isinstance(args[0], OnGpu)
    else:
        _check_places(name, args, tensors)
    if kwargs.get("device") is not None:
        goes_to_gpu = torch.device(kwargs["device"]).type == "cuda"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    result = operation(*tree_map(_values_of, args), **tree_map(_values_of, kwargs))
    given = {id(tensor.values): tensor for tensor in on_gpu}  # what works in place returns it

    def place(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        kept = given.get(id(value))
        return OnGpu(value) if kept is None else kept

    return tree_map(place, result) if goes_to_gpu else result


def _values_of(value: Any) -> Any:
    return value.values if isinstance(value, OnGpu) else value


def _check_places(name: str, args: tuple[Any, ...], tensors: list[torch.Tensor]) -> None:
    """Refuse tensors of both places, as torch does.

    It allows single numbers of the CPU beside tensors of the GPU, and indices for these.
    """
    is_index = name in _INDEXING and isinstance(args[0], OnGpu)
    on_gpu = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    strangers = [t for t in tensors if not isinstance(t, OnGpu) and t.dim() > 0]
    if on_gpu and strangers and not is_index:
        places = ", ".join(f"{list(tensor.shape)} on {tensor.device}" for tensor in tensors)
        raise RuntimeError(f"{name}: expected all tensors to be on the same device: {places}")


class _Event:
    def __init__(self, enable_timing: bool = False) -> None:
        self.time_s = 0.0

    def record(self, stream: object = None) -> None:
        self.time_s = time.perf_counter()

    def elapsed_time(self, end: _Event) -> float:
        return 1e3 * (end.time_s - self.time_s)


class _Stream:
    def synchronize(self) -> None:
        pass


def _backward(loss: torch.Tensor, *args: object, **kwargs: object) -> None:
    assert loss.requires_grad
    assert loss.device == GPU
    with contextlib.suppress(ReferenceError):
        for thing in gc.get_objects():
            if type(thing) is OnGpu and thing.is_leaf and thing.requires_grad:
                thing.grad = torch.full_like(thing, GRADIENT).detach()


def _without_pinned_memory(loader: Any, *args: Any, **kwargs: Any) -> None:
    _make_loader(loader, *args, **{**kwargs, "pin_memory": False})


assert "dpt_ros" not in sys.modules, "import pretend_gpu first"
torch._C._ensureCUDADeviceGuardSet()
torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor() then comes through the mode
torch.__future__.set_overwrite_module_params_on_conversion(True)
torch.inference_mode = torch.no_grad  # its tensors can't be wrapped
torch.Tensor.backward = _backward
_make_loader = torch.utils.data.DataLoader.__init__
torch.utils.data.DataLoader.__init__ = _without_pinned_memory
_ANSWERS = {
    "_lazy_init": None,
    "is_available": True,
    "is_initialized": True,
    "is_bf16_supported": True,
    "is_current_stream_capturing": False,
    "device_count": 1,
    "current_device": 0,
    "get_device_name": "a pretended GPU",
    "get_device_capability": (9, 0),
    "current_stream": _Stream(),
    "device": contextlib.nullcontext(),
    "empty_cache": None,
    "set_device": None,
    "synchronize": None,
}
for _name, _answer in _ANSWERS.items():
    setattr(torch.cuda, _name, lambda *args, _answer=_answer, **kwargs: _answer)
torch.cuda.Event = _Event
