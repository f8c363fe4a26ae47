"""The pipeline: what is wanted, in the order of the frames, equal to its parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dpt_ros.geometry.camera import Camera
from dpt_ros.geometry.depth import DepthLimits
from dpt_ros.geometry.point_cloud import PointCloudSettings
from dpt_ros.geometry.scale_shift import ScaleShift
from dpt_ros.inference import DepthPredictor, Frame, FrameOutputs, FramePipeline, InferenceError
from dpt_ros.inference import pipeline as pipeline_module
from dpt_ros.inference.colormap import ColormapSettings
from dpt_ros.inference.pipeline import OUTPUTS
from dpt_ros.model import create_model
from dpt_ros.model.cards import InputSpec, ModelCard

FIELDS = {
    "inverse_depth": "inverse_depth",
    "depth": "depth_m",
    "depth_mm": "depth_mm",
    "color": "color",
    "points": "points",
}
SCALE_SHIFT = ScaleShift(0.5, 0.1)
LIMITS = DepthLimits(0.1, 50.0)


@pytest.fixture(scope="module")
def predictor() -> DepthPredictor:
    torch.manual_seed(0)
    card = ModelCard(name="small", structure="dpt_tiny", input=InputSpec(width=96, height=64))
    return DepthPredictor(create_model("dpt_tiny"), card, device="cpu", precision="float32")


@pytest.fixture
def pipeline(predictor: DepthPredictor) -> FramePipeline:
    return FramePipeline(predictor, LIMITS, PointCloudSettings(edge_removal=0.0))


def make_frame(height: int = 50, width: int = 70, seed: int = 0, **changes: object) -> Frame:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    camera = Camera(width, height, 60.0, 60.0, width / 2, height / 2, "plumb_bob", (-0.1, 0, 0, 0))
    values = {"rgb": rgb, "camera": camera, "scale_shift": SCALE_SHIFT, **changes}
    return Frame(**values)  # type: ignore[arg-type]


def computed(outputs: FrameOutputs) -> set[str]:
    return {name for name, field in FIELDS.items() if getattr(outputs, field) is not None}


def test_all_outputs_agree(predictor: DepthPredictor, pipeline: FramePipeline):
    frame = make_frame()
    (outputs,) = pipeline.process([frame], OUTPUTS)

    inverse_depth = outputs.inverse_depth
    np.testing.assert_allclose(inverse_depth, predictor.predict(frame.rgb), rtol=1e-6)
    depth_m = outputs.depth_m
    np.testing.assert_allclose(depth_m, 1.0 / (0.5 * inverse_depth + 0.1), rtol=1e-5)
    assert (outputs.depth_mm.dtype, outputs.depth_mm.shape) == (np.uint16, (50, 70))
    np.testing.assert_allclose(outputs.depth_mm, depth_m * 1000.0, atol=0.51)
    assert (outputs.color.dtype, outputs.color.shape) == (np.uint8, (50, 70, 3))
    assert outputs.network_s > 0.0
    np.testing.assert_array_equal(outputs.points[..., 2], depth_m)
    assert outputs.points_are_dense is True
    pixels = frame.camera.project(torch.from_numpy(outputs.points[..., :3])).numpy()
    u, v = np.meshgrid(np.arange(70), np.arange(50))
    assert np.abs(pixels - np.stack((u, v), -1)).max() < 0.01
    bits = np.ascontiguousarray(outputs.points[..., 3]).view(np.uint32)
    red, green, blue = (frame.rgb[..., i].astype(np.uint32) for i in range(3))
    np.testing.assert_array_equal(bits, red << 16 | green << 8 | blue)


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_only_what_is_wanted_is_computed(pipeline: FramePipeline, name: str):
    (outputs,) = pipeline.process([make_frame()], frozenset({name}))

    assert computed(outputs) == {name}


def test_without_scale_and_shift_there_are_no_metres(pipeline: FramePipeline):
    (outputs,) = pipeline.process([make_frame(scale_shift=None)], OUTPUTS)

    assert computed(outputs) == {"inverse_depth", "color"}


def test_without_a_camera_there_are_no_points(pipeline: FramePipeline):
    (outputs,) = pipeline.process([make_frame(camera=None)], OUTPUTS)

    assert computed(outputs) == OUTPUTS - {"points"}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({}, set()), ({"scale_shift": None}, {"depth", "points"}), ({"camera": None}, {"points"})],
)
def test_the_network_does_not_run_for_nothing(
    predictor: DepthPredictor, monkeypatch: pytest.MonkeyPatch, changes: dict, wanted: set
):
    monkeypatch.setattr(predictor, "run_network", None)
    (outputs,) = FramePipeline(predictor).process([make_frame(**changes)], frozenset(wanted))

    assert outputs == FrameOutputs()


def test_frames_of_one_size_share_a_batch(
    predictor: DepthPredictor, monkeypatch: pytest.MonkeyPatch
):
    batches = []
    run_network = predictor.run_network

    def counted(x: torch.Tensor) -> torch.Tensor:
        batches.append(len(x))
        return run_network(x)

    monkeypatch.setattr(predictor, "run_network", counted)
    frames = [
        make_frame(seed=1),
        make_frame(40, 90, seed=2, camera=None),
        make_frame(seed=3, scale_shift=ScaleShift(2.0, 0.3)),
    ]
    pipeline = FramePipeline(predictor, LIMITS)
    together = pipeline.process(frames, OUTPUTS)

    assert sorted(batches) == [1, 2]
    for frame, outputs in zip(frames, together, strict=True):
        (alone,) = pipeline.process([frame], OUTPUTS)
        assert computed(outputs) == computed(alone)
        np.testing.assert_allclose(outputs.inverse_depth, alone.inverse_depth, rtol=1e-4)
        np.testing.assert_allclose(outputs.depth_m, alone.depth_m, rtol=1e-4)
        assert outputs.inverse_depth.shape == frame.rgb.shape[:2]


def test_outputs_are_not_overwritten_by_the_next_frame(pipeline: FramePipeline):
    (first,) = pipeline.process([make_frame(seed=1)], OUTPUTS)
    before = {name: getattr(first, field).copy() for name, field in FIELDS.items()}
    pipeline.process([make_frame(seed=2)], OUTPUTS)

    for name, field in FIELDS.items():
        np.testing.assert_array_equal(getattr(first, field), before[name])


def test_points_follow_stride_and_limits(predictor: DepthPredictor):
    points = PointCloudSettings(stride=3, edge_removal=0.0)
    settings = FramePipeline(predictor, DepthLimits(0.001, 0.002), points)
    (outputs,) = settings.process([make_frame()], frozenset({"depth", "points"}))

    assert outputs.points.shape == (math.ceil(50 / 3), math.ceil(70 / 3), 4)
    assert np.isposinf(outputs.depth_m).all()
    assert np.isnan(outputs.points[..., :3]).all()
    assert outputs.points_are_dense is False


def test_rays_are_computed_once_a_camera(
    predictor: DepthPredictor, monkeypatch: pytest.MonkeyPatch
):
    calls = []
    planes = Camera.ray_planes
    monkeypatch.setattr(
        Camera,
        "ray_planes",
        lambda camera, device: (calls.append(camera), planes(camera, device))[1],
    )
    pipeline = FramePipeline(predictor)
    frames = [make_frame(seed=index) for index in range(4)]
    for frame in frames:
        pipeline.process([frame], frozenset({"points"}))
    assert len(calls) == 1

    for width in range(60, 80):
        pipeline.process([make_frame(width=width)], frozenset({"points"}))
    assert len(pipeline._rays) == pipeline_module._MAX_CAMERAS


def test_colours_of_a_stream_do_not_jump(predictor: DepthPredictor):
    smooth = FramePipeline(predictor, colormap=ColormapSettings(smoothing=0.9))
    plain = FramePipeline(predictor)
    wanted = frozenset({"color"})
    black = make_frame(rgb=np.zeros((50, 70, 3), np.uint8), stream="a")

    (first,) = smooth.process([make_frame(seed=5, stream="a")], wanted)
    np.testing.assert_array_equal(first.color, plain.process([make_frame(seed=5)], wanted)[0].color)
    (second,) = smooth.process([black], wanted)
    (alone,) = plain.process([black], wanted)
    assert not np.array_equal(second.color, alone.color)
    (other,) = smooth.process([make_frame(rgb=black.rgb, stream="b")], wanted)
    np.testing.assert_array_equal(other.color, alone.color)


def process_spoiled(
    predictor: DepthPredictor, pipeline: FramePipeline, value: float, place: object = ...
) -> None:
    """Process a frame for which the network gives `value` at a place of its output."""
    run_network = predictor.run_network

    def spoiled(x: torch.Tensor) -> torch.Tensor:
        y = run_network(x).clone()
        y[place] = value
        return y

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "run_network", spoiled)
        pipeline.process([make_frame()], OUTPUTS)


@pytest.mark.parametrize("keep_memory", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_output_that_is_not_finite_is_a_failure(
    predictor: DepthPredictor, monkeypatch: pytest.MonkeyPatch, value: float, keep_memory: bool
):
    pipeline = FramePipeline(predictor, LIMITS, keep_memory=keep_memory)
    with pytest.raises(InferenceError, match=r"not finite in float32; .*another checkpoint$"):
        process_spoiled(predictor, pipeline, value)
    monkeypatch.setattr(predictor, "precision", "float16")
    with pytest.raises(InferenceError, match="not finite in float16; use precision:=float32$"):
        process_spoiled(predictor, pipeline, value, (0, 3, 4))
    (outputs,) = pipeline.process([make_frame()], OUTPUTS)
    assert np.isfinite(outputs.inverse_depth).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_colours_get_over_a_frame_that_is_not_finite(
    predictor: DepthPredictor, value: float, place: int
):
    """It is no frame at all: the range of the stream's colours is as without it."""

    def last_color(spoiled: int | None) -> np.ndarray:
        pipeline = FramePipeline(predictor, colormap=ColormapSettings(smoothing=0.9))
        for seed in range(2):
            if spoiled == seed:
                with pytest.raises(InferenceError):
                    process_spoiled(predictor, pipeline, value)
            (outputs,) = pipeline.process([make_frame(seed=seed)], OUTPUTS)
        return outputs.color

    expected = last_color(spoiled=None)
    assert len(np.unique(expected)) > 10
    np.testing.assert_array_equal(last_color(spoiled=place), expected)


def test_a_range_of_colours_that_is_not_finite_is_not_remembered(predictor: DepthPredictor):
    pipeline = FramePipeline(
        predictor, colormap=ColormapSettings(low_percent=0.0, high_percent=100.0, smoothing=0.5)
    )

    def limits(*values: float) -> list[float]:
        return pipeline._color_range("a", torch.tensor([[values]]))[:, 0].tolist()

    assert math.isnan(limits(math.nan, math.nan)[0])
    assert limits(1.0, math.inf) == [1.0, math.inf]
    assert limits(3.0, 8.0) == [2.0, 8.0]  # nothing finite to draw the upper end towards
    assert limits(-math.inf, 4.0) == [2.0, 6.0]
    assert limits(math.nan, math.nan) == [2.0, 6.0]
    assert limits(4.0, 4.0) == [3.0, 5.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rgb": np.zeros((50, 70), np.uint8)}, "rgb: got uint8"),
        ({"rgb": np.zeros((50, 70, 3), np.float32)}, "rgb: got float32"),
        ({"rgb": np.zeros((0, 70, 3), np.uint8)}, "rgb: got uint8"),
        ({"camera": Camera(70, 51, 1, 1, 1, 1)}, "camera: got one of 70x51 for an image of 70x50"),
    ],
)
def test_frames_that_can_not_be_are_refused(pipeline: FramePipeline, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        pipeline.process([make_frame(**changes)], OUTPUTS)


def test_unknown_outputs_are_refused(pipeline: FramePipeline):
    with pytest.raises(ValueError, match=r"got \['range'\], expected some of .*'points'"):
        pipeline.process([make_frame()], frozenset({"depth", "range"}))


def copied(outputs: FrameOutputs) -> dict[str, np.ndarray]:
    return {name: getattr(outputs, field).copy() for name, field in FIELDS.items()}


def bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint8)


@pytest.mark.parametrize("stride", [1, 3])
def test_kept_memory_changes_no_output(predictor: DepthPredictor, stride: int):
    settings = PointCloudSettings(stride=stride)
    frames = [make_frame(seed=seed, stream=stream) for seed, stream in enumerate("abab")]
    frames.append(make_frame(40, 90, seed=4, stream="a"))  # the size changes

    def run(keep_memory: bool) -> list[dict[str, np.ndarray]]:
        pipeline = FramePipeline(predictor, LIMITS, settings, keep_memory=keep_memory)
        calls = [frames[:2], frames[2:3], frames[3:], frames[:1]]
        return [copied(out) for call in calls for out in pipeline.process(call, OUTPUTS)]

    for kept, fresh in zip(run(True), run(False), strict=True):
        for name in OUTPUTS:
            np.testing.assert_array_equal(bits(kept[name]), bits(fresh[name]), err_msg=name)


def test_kept_memory_is_each_frames_own_in_a_call_and_used_again_in_the_next(
    predictor: DepthPredictor,
):
    pipeline = FramePipeline(predictor, LIMITS, keep_memory=True)
    first = pipeline.process([make_frame(seed=1), make_frame(seed=2)], OUTPUTS)
    before = copied(first[0])
    for field in FIELDS.values():
        arrays = [getattr(outputs, field) for outputs in first]
        assert not np.shares_memory(*arrays)
    (second,) = pipeline.process([make_frame(seed=3)], OUTPUTS)
    for name, field in FIELDS.items():
        assert np.shares_memory(getattr(first[0], field), getattr(second, field)), name
    assert not np.array_equal(first[0].inverse_depth, before["inverse_depth"])


def test_without_kept_memory_outputs_stay(pipeline: FramePipeline):
    (first,) = pipeline.process([make_frame(seed=1)], OUTPUTS)
    before = copied(first)
    pipeline.process([make_frame(seed=2)], OUTPUTS)
    for name, field in FIELDS.items():
        np.testing.assert_array_equal(bits(getattr(first, field)), bits(before[name]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_what_the_cpu_gives_for_two_cameras():
    def run(device: str) -> list[FrameOutputs]:
        torch.manual_seed(0)
        card = ModelCard(name="small", structure="dpt_tiny", input=InputSpec(width=96, height=64))
        network = create_model("dpt_tiny")
        predictor = DepthPredictor(network, card, device=device, precision="float32")
        pipeline = FramePipeline(predictor, LIMITS, PointCloudSettings(edge_removal=0.0))
        frames = [make_frame(), make_frame(seed=1, camera=Camera(70, 50, 90.0, 90.0, 35.0, 25.0))]
        return pipeline.process(frames, OUTPUTS)

    for on_gpu, on_cpu in zip(run("cuda"), run("cpu"), strict=True):
        for field in ("inverse_depth", "depth_m"):
            expected = getattr(on_cpu, field)
            np.testing.assert_allclose(getattr(on_gpu, field), expected, rtol=1e-3)
        difference_mm = on_gpu.depth_mm.astype(int) - on_cpu.depth_mm.astype(int)
        np.testing.assert_allclose(difference_mm, 0, atol=20)
        np.testing.assert_allclose(on_gpu.points[..., :3], on_cpu.points[..., :3], rtol=1e-3)
        bits = [np.ascontiguousarray(o.points[..., 3]).view(np.uint32) for o in (on_gpu, on_cpu)]
        np.testing.assert_array_equal(*bits)
        assert np.abs(on_gpu.color.astype(int) - on_cpu.color.astype(int)).max() <= 8
        assert on_gpu.network_s > 0.0
