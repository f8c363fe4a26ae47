"""The predictor with tiny random networks: kinds, sizes, precision, failures."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from dpt_ros.inference import DepthPredictor, InferenceError, device
from dpt_ros.inference.predictor import as_tensor
from dpt_ros.model import create_model, save_checkpoint
from dpt_ros.model.cards import InputSpec, ModelCard, OutputSpec
from dpt_ros.model.dpt import DPT
from dpt_ros.model.integrity import CheckpointError, file_sha256

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def make_model() -> DPT:
    """A small network whose output varies over the image, and is positive everywhere."""
    torch.manual_seed(0)
    model = create_model("dpt_tiny")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and not any(word in name for word in ("position", "cls_token")):
                parameter.normal_(0.0, (1.5 / parameter[0].numel()) ** 0.5)
            elif "position" in name:
                parameter.normal_(0.0, 0.3)
        model.head.conv3.weight.abs_()
    return model


def make_card(width: int = 96, height: int = 64, **output: object) -> ModelCard:
    return ModelCard(
        name="small",
        structure="dpt_tiny",
        input=InputSpec(width=width, height=height),
        output=OutputSpec(**output),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def predictor() -> DepthPredictor:
    return DepthPredictor(make_model(), make_card(), device="cpu", precision="float32")


def random_rgb(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean() / np.abs(b).mean())


@pytest.mark.parametrize("shape", [(64, 96), (50, 70), (1, 1), (200, 33), (2, 50, 70), (1, 9, 9)])
def test_output_has_the_size_of_the_input(predictor: DepthPredictor, shape: tuple[int, ...]):
    inverse_depth = predictor.predict(random_rgb(*shape))

    assert (inverse_depth.dtype, inverse_depth.shape) == (np.float32, shape)
    assert np.isfinite(inverse_depth).all()


def test_output_is_network_and_transforms_in_a_row(predictor: DepthPredictor):
    rgb = random_rgb(64, 96)  # the network's own size: nothing is resized
    model = make_model().eval()
    with torch.no_grad():
        x = torch.from_numpy(rgb / 255.0 * 2.0 - 1.0).permute(2, 0, 1)[None].float()
        expected = model(x)[0].numpy()

    inverse_depth = predictor.predict(rgb)

    assert expected.std() > 0.05 * expected.mean()
    np.testing.assert_allclose(inverse_depth, expected, rtol=1e-4)


def test_tensors_give_tensors_of_the_same_values(predictor: DepthPredictor):
    rgb = random_rgb(2, 50, 70)
    from_tensor = predictor.predict(torch.from_numpy(rgb))

    assert isinstance(from_tensor, torch.Tensor)
    assert not from_tensor.is_inference()
    np.testing.assert_array_equal(from_tensor.numpy(), predictor.predict(rgb))


def test_a_batch_is_its_images(predictor: DepthPredictor):
    rgb = random_rgb(2, 50, 70)
    batch = predictor.predict(rgb)

    np.testing.assert_allclose(batch[0], predictor.predict(rgb[0]), rtol=1e-4)
    np.testing.assert_allclose(batch[1], predictor.predict(rgb[1]), rtol=1e-4)
    assert relative_difference(batch[0], batch[1]) > 1e-3


def test_read_only_and_strided_arrays_are_taken_without_a_warning(predictor: DepthPredictor):
    rgb = random_rgb(50, 140)
    view = rgb[:, ::2][:, ::-1]
    read_only = np.frombuffer(view.tobytes(), np.uint8).reshape(view.shape)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(predictor.predict(view), predictor.predict(read_only))


def test_read_only_arrays_are_not_copied():
    array = np.frombuffer(bytes(range(12)), np.uint8).reshape(2, 2, 3)
    tensor = as_tensor(array)

    assert tensor.data_ptr() == array.ctypes.data
    assert not array.flags.writeable
    del array
    assert tensor.flatten().tolist() == list(range(12))


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((1, 1, 4, 4, 3), np.uint8),
        torch.zeros(4, 4, 3),
        torch.zeros(3, 4, 4, dtype=torch.uint8),
    ],
)
def test_what_is_no_image_is_refused(predictor: DepthPredictor, rgb: object):
    with pytest.raises(ValueError, match=r"rgb: got .*, expected uint8 \(H, W, 3\)"):
        predictor.predict(rgb)  # type: ignore[type-var]


def test_lists_are_refused(predictor: DepthPredictor):
    with pytest.raises(TypeError, match="got list, expected an array or a tensor"):
        predictor.predict([[0, 0, 0]])  # type: ignore[type-var]


def test_choices_are_kept_and_logged_with_their_reason(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        predictor = DepthPredictor(create_model("dpt_tiny"), device="cpu", precision="float32")

    assert (predictor.device, predictor.precision) == (torch.device("cpu"), "float32")
    assert (predictor.device_reason, predictor.precision_reason) == ("asked for", "asked for")
    assert predictor.model_name == "dpt_tiny"
    assert "dpt_tiny on cpu: asked for" in caplog.text
    assert "dpt_tiny in float32: asked for" in caplog.text


def test_metres_come_from_the_card_alone():
    relative = DepthPredictor(create_model("dpt_tiny"), make_card(), device="cpu")
    metric_card = make_card(kind="metric_inverse_depth", scale=0.5, shift=0.25)
    metric = DepthPredictor(create_model("dpt_tiny"), metric_card, device="cpu")

    assert relative.metric_scale_shift is None
    assert metric.metric_scale_shift is not None
    assert (metric.metric_scale_shift.scale, metric.metric_scale_shift.shift) == (0.5, 0.25)


def test_from_model_loads_a_checkpoint(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    model = make_model()
    save_checkpoint(model, path, card=make_card(kind="metric_inverse_depth", scale=2.0, shift=1.0))
    predictor = DepthPredictor.from_model(
        "dpt_tiny", checkpoint=path, device="cpu", precision="float32"
    )

    assert predictor.model_name == "small"
    assert predictor.checkpoint_path == path
    assert predictor.checkpoint_sha256 == file_sha256(path)
    # The embedded card says how the image is prepared and what the output is.
    assert predictor.network_size(64, 96) == (64, 96)
    assert predictor.metric_scale_shift is not None
    rgb = random_rgb(64, 96)
    direct = DepthPredictor(model, make_card(), device="cpu", precision="float32")
    np.testing.assert_array_equal(predictor.predict(rgb), direct.predict(rgb))


def test_a_wrong_device_is_told_before_weights_are_looked_for(tmp_path: Path):
    with pytest.raises(ValueError, match="device: got 'gpu'"):
        DepthPredictor.from_model("dpt_tiny", checkpoint=tmp_path / "none.pt", device="gpu")


class Failing(nn.Module):
    """Fails once as torch does when memory runs out, then works."""

    def __init__(self, network: nn.Module, error: Exception) -> None:
        super().__init__()
        self.network = network
        self.error: Exception | None = error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        result: torch.Tensor = self.network(x)
        return result


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "smaller model"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "smaller model"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), "failed: cuDNN error"),
        (RuntimeError(), "failed: RuntimeError$"),
        (RuntimeError("CUDA error: an illegal memory access\nCUDA kernel"), "must be restarted$"),
        (RuntimeError("CUDA error: out of memory"), "smaller model, image or batch"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "smaller model"),
        (MemoryError(), "failed: MemoryError; use a smaller model"),
        (cv2.error("(-4:Insufficient memory) in function 'resize'"), "smaller model"),
        (cv2.error("(-215:Assertion failed) in function 'resize'"), r"failed: \(-215"),
    ],
)
def test_a_failure_is_told_and_the_next_frame_works(error: Exception, message: str):
    predictor = DepthPredictor(make_model(), make_card(), device="cpu", precision="float32")
    rgb = random_rgb(64, 96)
    expected = predictor.predict(rgb)
    predictor._network = Failing(predictor._network, error)  # type: ignore[arg-type]

    with pytest.raises(InferenceError, match=message):
        predictor.predict(rgb)
    np.testing.assert_array_equal(predictor.predict(rgb), expected)


def test_a_failure_is_told_although_memory_can_not_be_freed(monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise RuntimeError("raised by the recovery")

    predictor = DepthPredictor(make_model(), make_card(), device="cpu", precision="float32")
    error = RuntimeError("CUDA error: unspecified launch failure")
    predictor._network = Failing(predictor._network, error)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", fail)

    with pytest.raises(InferenceError, match="failed: CUDA error: unspecified launch failure; "):
        predictor.predict(random_rgb(64, 96))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_too_large_for_the_precision_are_refused(precision: str):
    model = make_model()
    with torch.no_grad():
        model.head.conv3.bias.fill_(-3.4e38)  # bfloat16 ends at 3.39e38
    if precision == "float32":
        DepthPredictor(model, make_card(), device="cpu", precision=precision)
        return
    with pytest.raises(
        CheckpointError, match=r"head.conv3.bias holds values up to 3.4e\+38.*precision:=float32"
    ):
        DepthPredictor(model, make_card(), device="cpu", precision=precision)


def test_float32_is_not_rounded_in_the_network(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "rounds_float32", lambda *_: True)  # as on a GPU
    predictor = DepthPredictor(make_model(), make_card(), device="cpu", precision="float32")
    seen: list[bool] = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.backends.cudnn.allow_tf32)
        return x[:, 0]

    predictor._network = network
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        predictor.predict(random_rgb(64, 96))
        assert torch.backends.cudnn.allow_tf32
    assert seen == [False]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_output_that_is_not_finite_is_told(
    predictor: DepthPredictor, monkeypatch: pytest.MonkeyPatch, value: float
):
    def spoiled(x: torch.Tensor) -> torch.Tensor:
        output = torch.ones_like(x[:, 0])
        output[0, 3, 4] = value
        return output

    monkeypatch.setattr(predictor, "run_network", spoiled)
    for rgb in (random_rgb(64, 96), torch.from_numpy(random_rgb(2, 64, 96))):
        with pytest.raises(InferenceError, match="output is not finite in float32; the weights"):
            predictor.predict(rgb)


def test_an_error_of_another_kind_is_passed_on():
    predictor = DepthPredictor(make_model(), make_card(), device="cpu", precision="float32")
    predictor._network = Failing(predictor._network, KeyError("x"))  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        predictor.predict(random_rgb(64, 96))


def test_a_permuted_tensor_of_the_network_size_is_taken(predictor: DepthPredictor):
    rgb = torch.from_numpy(random_rgb(64, 96))
    planes = rgb.permute(2, 0, 1).contiguous()
    assert predictor.network_size(64, 96) == (64, 96)
    assert torch.equal(predictor.predict(planes.permute(1, 2, 0)), predictor.predict(rgb))


def real_picture(bag: str) -> np.ndarray:
    if not (DATA / bag).is_dir():
        pytest.skip(f"no {bag} in {DATA}")
    highlevel = pytest.importorskip("rosbags.highlevel")
    with highlevel.AnyReader([DATA / bag]) as reader:
        images = [c for c in reader.connections if c.msgtype.endswith("/Image")]
        connection, _, raw = next(reader.messages(connections=images))
        message = reader.deserialize(raw, connection.msgtype)
    assert message.encoding in ("rgb8", "bgr8")
    assert message.step == 3 * message.width
    picture = message.data.reshape(message.height, message.width, 3)
    return picture if message.encoding == "rgb8" else picture[..., ::-1]


@pytest.mark.parametrize("bag", ["kitti_000000", "kitti_000001"])
def test_bfloat16_stays_within_one_percent_on_a_real_picture(bag: str):
    rgb = real_picture(bag)
    full, half = (
        DepthPredictor.from_model("dpt_tiny", device="cpu", precision=precision).predict(rgb)
        for precision in ("float32", "bfloat16")
    )
    assert full.std() > 0.05 * full.mean()  # not just a constant that is easy to keep
    assert 0.0 < relative_difference(half, full) < 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_on_a_gpu(precision: str):
    rgb = random_rgb(2, 50, 70)
    on_cpu = DepthPredictor.from_model("dpt_tiny", device="cpu", precision="float32")
    on_gpu = DepthPredictor.from_model("dpt_tiny", device="cuda", precision=precision)

    assert relative_difference(on_gpu.predict(rgb), on_cpu.predict(rgb)) < 0.01
    result = on_gpu.predict(torch.from_numpy(rgb).cuda())
    assert result.device.type == "cuda"


@pytest.mark.parametrize("shape", [(1, 40, 50, 3), (40, 1, 3), (1, 50, 3), (2, 40, 50, 3)])
def test_reversed_arrays_are_taken_like_others(shape: tuple[int, ...]) -> None:
    predictor = DepthPredictor(make_model(), device="cpu", precision="float32")
    rgb = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for view in (rgb[::-1], rgb[:, ::-1]):
        assert np.array_equal(predictor.predict(view), predictor.predict(view.copy()))
