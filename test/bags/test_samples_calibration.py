"""A camera whose calibration changes while it is recorded."""

from __future__ import annotations

import pytest
from drive_samples import MS, START, samples_of

STAMPS = [START + index * 100 * MS for index in range(6)]
FOCAL_PX = [25.0, 25.0, 25.0, 40.0, 40.0, 25.0]


@pytest.fixture(params=[-1, 1], ids=["before", "after"])
def zooming(tmp_path, recordings, request):
    """Every picture has a camera_info of its stamp, recorded a millisecond before or after it."""
    messages = [m for m in recordings.drive(STAMPS) if m[0] != "/camera/camera_info"]
    for stamp_ns, f_px in zip(STAMPS, FOCAL_PX, strict=True):
        info = recordings.info(stamp_ns, 32, 24, f_px)
        messages.append(("/camera/camera_info", stamp_ns + request.param * MS, info))
    return recordings.write_bag(tmp_path / "bag", messages)


def test_every_picture_has_the_calibration_of_its_stamp(zooming):
    samples, _ = samples_of(zooming)
    assert [sample.camera.fx_px for sample in samples] == FOCAL_PX


def test_the_change_is_told_and_in_the_manifest(zooming):
    _, stream = samples_of(zooming)
    (told,) = [text for text in stream.warnings if "camera_info changes" in text]
    assert f"first at {STAMPS[3] / 1e9:.3f} s (fx_px 25.0 to 40.0, fy_px 25.0 to 40.0)" in told
    info = stream.info
    assert [(c["fx_px"], c["samples"]) for c in info["cameras"]] == [(25.0, 4), (40.0, 2)]
    assert info["calibration"]["camera"]["fx_px"] == 25.0


def test_a_change_changes_the_hash_of_the_calibration(tmp_path, recordings, zooming):
    steady = recordings.write_bag(tmp_path / "steady", recordings.drive(STAMPS))
    _, one = samples_of(steady)
    assert "cameras" not in one.info
    assert not [text for text in one.warnings if "camera_info" in text]
    assert one.info["calibration"] == samples_of(zooming)[1].info["calibration"]
    assert one.info["calibration_sha256"] != samples_of(zooming)[1].info["calibration_sha256"]


def test_one_camera_info_holds_for_all_pictures(tmp_path, recordings):
    messages = recordings.drive(STAMPS)
    first = next(m for m in messages if m[0] == "/camera/camera_info")
    messages = [m for m in messages if m[0] != "/camera/camera_info" or m is first]
    samples, _ = samples_of(recordings.write_bag(tmp_path / "bag", messages))
    assert [sample.camera.fx_px for sample in samples] == [25.0] * 6
