"""The predictor: rgb images of any size in, inverse depth of the same size out."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dpt_ros.inference.compilation import CompiledNetwork
from dpt_ros.inference.device import (
    choose_device,
    choose_precision,
    free_cached_memory,
    full_float32,
)
from dpt_ros.inference.identity import card_for, metric_scale_shift, weights_sha256
from dpt_ros.inference.overflow import is_finite, not_finite_message, refuse_large_weights
from dpt_ros.inference.packed_linear import pack_linear_layers
from dpt_ros.model.cards import InputSpec, ModelCard, load_card
from dpt_ros.model.checkpoints import load_checkpoint
from dpt_ros.model.dpt import DPT, create_model
from dpt_ros.model.input_transform import InputTransform, resize_output
from dpt_ros.model.weights import find_weights

_log = logging.getLogger(__name__)

_MEMORY_WORDS = ("allocate memory", "Insufficient memory", "out of memory", "ALLOC_FAILED")
"""By which messages of torch, CUDA, cuBLAS and cv2 are known that tell of a full memory."""

Images = TypeVar("Images", NDArray[np.generic], Tensor)


class InferenceError(RuntimeError):
    """The network failed on an image; the next one can be tried."""


class DepthPredictor:
    """A network with its input transform, on its device, in its precision.

    One thread at a time may use it.

    Args:
        model: the network with its weights. It is taken over: moved, converted, made ready for
            inference.
        card: what its input and output are; None: the structure's name and the usual input.
        device: "auto", "cpu", "cuda" or "cuda:N", or such a torch.device.
        precision: "auto", "float32", "float16" or "bfloat16".
        compile: whether to compile the network.
        checkpoint_path, checkpoint_sha256: where the weights come from, if they come from a file.

    Raises:
        ValueError: a device or precision that can't be had here.
        CheckpointError: weights too large for the precision.
    """

    def __init__(
        self,
        model: DPT,
        card: ModelCard | None = None,
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        compile: bool = False,
        checkpoint_path: Path | None = None,
        checkpoint_sha256: str = "",
    ) -> None:
        chosen_device, self.device_reason = choose_device(device)
        self.device = torch.device(chosen_device)
        self.precision, self.precision_reason = choose_precision(precision, self.device)
        self.card = card
        self.model_name = card.name if card else model.configuration.name
        self.checkpoint_path = checkpoint_path
        self.checkpoint_sha256 = checkpoint_sha256
        self.metric_scale_shift = metric_scale_shift(card)
        self._dtype: torch.dtype = getattr(torch, self.precision)
        self._transform = InputTransform(card.input if card else InputSpec())
        self._network: Callable[[Tensor], Tensor] = _prepare(model, self.device, self._dtype)
        if (self._dtype, self.device.type, compile) == (torch.bfloat16, "cpu", False):
            pack_linear_layers(self._network)  # the compiler packs by itself
        _log.info("%s on %s: %s", self.model_name, self.device, self.device_reason)
        _log.info("%s in %s: %s", self.model_name, self.precision, self.precision_reason)
        if compile:
            self._compile()

    @classmethod
    def from_model(
        cls,
        name: str,
        checkpoint: str | Path | None = None,
        device: str | torch.device = "auto",
        precision: str = "auto",
        compile: bool = False,
    ) -> DepthPredictor:
        """Load a model by the name of its card.

        Args:
            name: a card's name ("dpt_large"), or the path of a card or of weights with one inside.
            checkpoint: weights file or Hugging Face folder; None: the card's own file, which has
                been pulled. A card embedded in the file says what its input and output are.
            device: as for the class.
            precision: as for the class.
            compile: as for the class.

        Raises:
            ConfigError: there is no such model.
            CheckpointError: no weights, or weights that do not fit.
            ValueError: a device or precision that can't be had here.
        """
        choose_precision(precision, torch.device(choose_device(device)[0]))  # before the long part
        card = load_card(name)
        path = find_weights(card) if checkpoint is None else Path(checkpoint).expanduser()
        with torch.device("meta"):
            model = create_model(card.structure, **card.structure_overrides)
        load_checkpoint(model, path)
        return cls(
            model,
            card_for(card, path),
            device=device,
            precision=precision,
            compile=compile,
            checkpoint_path=path,
            checkpoint_sha256=weights_sha256(path),
        )

    @property
    def is_compiled(self) -> bool:
        """Whether the network is compiled; one that does not compile runs as it is."""
        return isinstance(self._network, CompiledNetwork) and self._network.is_compiled

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """The network's (height, width) for an image of this size."""
        return self._transform.network_size(height, width)

    def predict(self, rgb: Images) -> Images:
        """Inverse depth of one image or of a batch.

        Args:
            rgb: uint8 [H, W, 3] or [B, H, W, 3], array or tensor on any device.

        Returns:
            float32 [H, W] or [B, H, W], of the same kind and on the same device; larger is nearer.

        Raises:
            TypeError: neither array nor tensor.
            ValueError: another shape or type.
            InferenceError: the network failed, or gave what is no number.
        """
        if not isinstance(rgb, (np.ndarray, Tensor)):
            raise TypeError(f"rgb: got {type(rgb).__name__}, expected an array or a tensor")
        is_uint8 = rgb.dtype == (np.uint8 if isinstance(rgb, np.ndarray) else torch.uint8)
        if not is_uint8 or rgb.ndim not in (3, 4) or rgb.shape[-1] != 3 or 0 in rgb.shape:
            raise ValueError(
                f"rgb: got {rgb.dtype} {tuple(rgb.shape)}, expected uint8 (H, W, 3) or "
                "(B, H, W, 3), none of them 0"
            )
        images = as_tensor(rgb) if isinstance(rgb, np.ndarray) else rgb
        result = self.infer(images if images.ndim == 4 else images[None])
        if not is_finite(result):
            raise InferenceError(not_finite_message(self.precision))
        result = result if images.ndim == 4 else result[0]
        if isinstance(rgb, np.ndarray):
            return result.cpu().numpy()
        return result.to(rgb.device).clone()  # an ordinary tensor, not one of inference mode

    @torch.inference_mode()
    def infer(self, rgb: Tensor) -> Tensor:
        """Inverse depth of a batch, on the predictor's device.

        Args:
            rgb: [B, H, W, 3] uint8 on any device.

        Returns:
            [B, H, W] float32 on `device`.

        Raises:
            ValueError: another shape or type.
            InferenceError: the network failed.
        """
        with inference_errors():
            x = self.network_input(rgb.to(self.device))
            return resize_output(self.run_network(x), (rgb.shape[1], rgb.shape[2]))

    @torch.inference_mode()
    def network_input(self, rgb: Tensor) -> Tensor:
        """Images [B, H, W, 3] uint8 on `device` to the network's input [B, 3, h, w] float32."""
        return self._transform.apply(rgb)

    @torch.inference_mode()
    def run_network(self, x: Tensor) -> Tensor:
        """The network alone: [B, 3, h, w] float32 on `device`, normalised -> [B, h, w] float32."""
        # Whatever precision the caller works in: this is the predictor's own.
        no_autocast = torch.autocast(self.device.type, enabled=False)
        with no_autocast, full_float32(self.device, self._dtype):
            return self._network(x.to(self._dtype)).float()

    def _compile(self) -> None:
        """Compile for an image of the card's size, made into input as those that come will be."""
        self._network = compiled = CompiledNetwork(self._network, self.model_name)
        size = (self._transform.spec.height, self._transform.spec.width)
        black = torch.zeros(1, *size, 3, dtype=torch.uint8, device=self.device)
        compiled.compile(lambda: self.run_network(self.network_input(black)))


@contextlib.contextmanager
def inference_errors() -> Iterator[None]:
    """Turn what torch, cv2 and a full memory raise into InferenceError, and let go of memory.

    A ValueError stays: it is about the caller's image.
    """
    try:
        yield
    except InferenceError:
        raise
    except Exception as error:
        # cv2 is told by its name: it may never have been imported.
        if not isinstance(error, (RuntimeError, MemoryError)) and type(error).__module__ != "cv2":
            raise
        message = next(iter(str(error).strip().splitlines()), type(error).__name__)
        # The traceback's frames hold the tensors that filled the memory.
        traceback.clear_frames(error.__traceback__)
        free_cached_memory()
        raise InferenceError(f"the network failed: {message}{_remedy(error, message)}") from error


def _remedy(error: Exception, message: str) -> str:
    """What to do about a failure, to be appended to its message; "" if nobody knows."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or any(
        words in message for words in _MEMORY_WORDS
    ):
        return "; use a smaller model, image or batch, or half precision"
    if "CUDA error" in message:
        return "; the GPU serves this process no more: the node's process must be restarted"
    return ""


def as_tensor(array: NDArray[np.generic]) -> Tensor:
    """An array as a tensor that shares its memory where possible, read-only arrays included.

    Nobody writes into it: torch has no read-only tensors and would warn of each such array.
    """
    # numpy calls a reversed batch of one contiguous, torch does not.
    if not array.flags.c_contiguous or min(array.strides, default=0) < 0:
        array = array.copy()
    if not array.flags.writeable:
        array = np.asarray(_Writeable(array))
    return torch.from_numpy(array)


class _Writeable:
    """An array's memory, announced as writeable; keeps the array alive."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        self._array = array
        address = array.__array_interface__["data"][0]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


class _Float32Output(nn.Module):
    """The last convolution in float32: a half-precision output alone costs up to 0.4 %."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution.float()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.convolution(x.float())
        return result


def _prepare(model: DPT, device: torch.device, dtype: torch.dtype) -> DPT:
    model = model.prepare_for_inference()
    refuse_large_weights(model, dtype)
    model = model.to(device=device, dtype=dtype)
    if dtype != torch.float32 and not isinstance(model.head.conv3, _Float32Output):
        model.head.conv3 = _Float32Output(model.head.conv3)  # type: ignore[assignment]
    return model
