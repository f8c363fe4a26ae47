import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dpt_ros.bags.reader import BagReader
from dpt_ros.messages.camera_info import camera_from_info
from dpt_ros.messages.cloud import cloud_to_points, cloud_to_timed_xyz
from dpt_ros.messages.decode import image_to_rgb
from dpt_ros.synthetic import bag as bags
from dpt_ros.synthetic.rig import rig_camera
from dpt_ros.synthetic.robot import Robot
from dpt_ros.synthetic.settings import BagSettings, LidarSettings, RigSettings

FEW = LidarSettings(rings=8, steps=90)


def record(folder, **options):
    settings = BagSettings(kind="room", seed=2, seconds=0.4, rate=5.0, **options)
    robot = bags.robot_for(settings, lidar=FEW)
    camera = rig_camera(robot.rig, 64, 48)
    assert list(bags.record_bag(folder, settings, robot, camera)) == [1, 2]
    return robot, camera


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bag") / "drive"
    robot, camera = record(folder, depth=True)
    with BagReader(folder) as reader:
        messages = {}
        for topic, stamp_ns, message in reader.messages():
            messages.setdefault(topic, []).append((stamp_ns, message))
        return robot, camera, messages, {topic.name: topic for topic in reader.topics}


def matrix(transform):
    result = np.eye(4)
    q, t = transform.rotation, transform.translation
    result[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    result[:3, 3] = t.x, t.y, t.z
    return result


def test_topics_are_those_of_a_robot(recorded):
    _, _, messages, topics = recorded
    assert {name: topic.type.rpartition("/")[2] for name, topic in topics.items()} == {
        "/camera/image_rect": "Image",
        "/camera/camera_info": "CameraInfo",
        "/camera/depth/image_rect": "Image",
        "/lidar/points": "PointCloud2",
        "/tf_static": "TFMessage",
        "/tf": "TFMessage",
        "/odom": "Odometry",
    }
    assert topics["/camera/image_rect"].count == 2 and topics["/tf_static"].count == 1
    # Pictures at 0.1 and 0.3 s, turns of 0.1 s from 0.08 s on.
    stamps = [stamp - bags.START_NS for stamp, _ in messages["/camera/image_rect"]]
    assert stamps == [100_000_000, 300_000_000]
    stamps = [stamp - bags.START_NS for stamp, _ in messages["/lidar/points"]]
    assert stamps == [80_000_000, 180_000_000, 280_000_000]


def test_pictures_and_camera_are_the_robots(recorded):
    robot, camera, messages, _ = recorded
    for number, time_s in enumerate((0.1, 0.3)):
        rgb, depth_m = robot.picture(camera, time_s)
        image = messages["/camera/image_rect"][number][1]
        assert image.header.frame_id == "camera_optical_frame" and image.encoding == "rgb8"
        np.testing.assert_array_equal(image_to_rgb(image), rgb)
        stored = messages["/camera/depth/image_rect"][number][1]
        assert stored.encoding == "32FC1"
        np.testing.assert_array_equal(stored.data.view(np.float32).reshape(48, 64), depth_m)
        info = messages["/camera/camera_info"][number][1]
        assert info.header == image.header
        assert camera_from_info(info, rectified=True) == camera
        assert camera_from_info(info, rectified=False) == camera


def test_static_transforms_place_the_sensors(recorded):
    robot, _, messages, _ = recorded
    ((_, message),) = messages["/tf_static"]
    frames = {
        t.child_frame_id: (t.header.frame_id, matrix(t.transform)) for t in message.transforms
    }
    assert {child: parent for child, (parent, _) in frames.items()} == {
        "camera_link": "base_link",
        "camera_optical_frame": "camera_link",
        "lidar": "base_link",
    }
    base_camera = frames["camera_link"][1] @ frames["camera_optical_frame"][1]
    np.testing.assert_allclose(base_camera, robot.transform_base_camera, atol=1e-9)
    np.testing.assert_allclose(frames["lidar"][1], robot.transform_base_lidar, atol=1e-9)
    # The optical axis points ahead and 4 degrees down; x to the right; REP 103.
    ahead, right = base_camera[:3, 2], base_camera[:3, 0]
    np.testing.assert_allclose(ahead, [np.cos(0.0698132), 0, -np.sin(0.0698132)], atol=1e-6)
    np.testing.assert_allclose(right, [0, -1, 0], atol=1e-9)
    assert base_camera[2, 3] == pytest.approx(0.5)


def test_tf_and_odometry_agree_and_begin_at_the_origin(recorded):
    robot, _, messages, _ = recorded
    transforms, odometry = messages["/tf"], messages["/odom"]
    assert len(transforms) == len(odometry)
    for number, ((_, message), (stamp_ns, odom)) in enumerate(
        zip(transforms, odometry, strict=True)
    ):
        (transform,) = message.transforms
        assert transform.header == odom.header
        assert (transform.header.frame_id, transform.child_frame_id) == ("odom", "base_link")
        assert stamp_ns == bags.START_NS + number * 20_000_000
        pose = matrix(transform.transform)
        np.testing.assert_allclose(pose, robot.transform_odom_base(number / 50), atol=1e-9)
        place = odom.pose.pose.position
        np.testing.assert_allclose(pose[:3, 3], [place.x, place.y, place.z], atol=1e-12)
        assert odom.twist.twist.linear.x == pytest.approx(robot.velocity(number / 50)[0])
    first = matrix(transforms[0][1].transforms[0].transform)
    np.testing.assert_allclose(first[:2, 3], 0.0, atol=1e-12)
    assert first[1, 0] == pytest.approx(0.0, abs=1e-9) and first[0, 0] > 0.99
    # Known before the first turn began and after the last one ended.
    assert transforms[-1][1].transforms[0].header.stamp.nanosec >= 380_000_000


def test_cloud_holds_the_scan(recorded):
    robot, _, messages, _ = recorded
    message = messages["/lidar/points"][1][1]
    scan = robot.scan(0.18)
    fields = cloud_to_points(message)
    assert list(fields) == ["x", "y", "z", "intensity", "ring", "time"]
    xyz, stamps_ns = cloud_to_timed_xyz(message)
    np.testing.assert_array_equal(xyz, scan.xyz)
    np.testing.assert_array_equal(fields["ring"], scan.ring)
    np.testing.assert_array_equal(fields["intensity"], scan.intensity)
    assert stamps_ns is not None
    expected = bags.START_NS + 180_000_000 + scan.time_s.astype(float) * 1e9
    np.testing.assert_allclose(stamps_ns - bags.START_NS, expected - bags.START_NS, atol=2000)
    assert message.header.frame_id == "lidar" and message.is_dense


def test_messages_are_recorded_after_what_they_tell_of(recorded):
    robot, camera, _, _ = recorded
    settings = BagSettings(kind="room", seed=2, seconds=0.4, rate=5.0)
    stream = list(bags.drive_messages(bags.BagMessages(), settings, robot, camera))
    times = [item.time_s for item in stream]
    assert times == sorted(times)
    for time_s, topic, message in stream:
        if topic not in ("/tf_static", "/tf"):
            stamp = message.header.stamp
            stamp_s = (stamp.sec - bags.START_NS // 10**9) + stamp.nanosec / 1e9
            late = 0.1 if topic == "/lidar/points" else 0.0
            assert late < time_s - stamp_s < late + 0.02


def test_sqlite_and_jpeg(tmp_path):
    robot, camera = record(tmp_path / "other", storage="sqlite3", compressed=True)
    assert sorted(file.name for file in (tmp_path / "other").iterdir()) == [
        "metadata.yaml",
        "other.db3",
    ]
    with BagReader(tmp_path / "other") as reader:
        (first, _) = reader.images()
        assert first.topic == "/camera/image_rect/compressed"
        off = image_to_rgb(first.message).astype(float) - robot.picture(camera, 0.1).rgb
        assert np.abs(off).mean() < 6


def test_metadata_names_the_file_and_latches_static_transforms(tmp_path):
    record(tmp_path / "named")
    assert [file.name for file in tmp_path.iterdir()] == ["named"]
    text = (tmp_path / "named" / "metadata.yaml").read_text()
    assert "named.mcap" in text and ".part" not in text
    assert "transient_local" in text


def test_existing_folder_is_refused_and_a_stopped_recording_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileExistsError, match="taken exists"):
        record(tmp_path / "taken")
    settings = BagSettings(kind="room", seed=2, seconds=0.4, rate=5.0)
    robot = bags.robot_for(settings, lidar=FEW)
    recording = bags.record_bag(tmp_path / "new", settings, robot, rig_camera(robot.rig, 64, 48))
    next(recording)
    recording.close()
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_the_points_of_a_drive_lie_still_in_odom():
    robot = Robot("corridor", 3, 1.0, lidar=FEW)
    np.testing.assert_allclose(robot.transform_odom_base(0.0)[:2, 3], 0.0, atol=1e-9)
    for time_s in (0.25, 0.5, 0.75):
        xyz = robot.scan(time_s).xyz
        # The floor stays at z = 0, whatever way the robot leans.
        transform = robot.transform_odom_base(time_s) @ robot.transform_base_lidar
        height = (xyz @ transform[:3, :3].T + transform[:3, 3])[:, 2]
        floor = height[np.abs(height) < 0.08]
        assert len(floor) > 50 and abs(np.median(floor)) < 0.01


def test_a_seed_is_a_drive_and_other_seeds_and_splits_are_others():
    camera = rig_camera(RigSettings(), 64, 48)

    def picture(seed, split):
        return Robot("room", seed, 1.0, split=split).picture(camera, 0.5).rgb

    first = picture(1, "test")
    assert first.shape == (48, 64, 3)
    np.testing.assert_array_equal(first, picture(1, "test"))
    assert not np.array_equal(first, picture(2, "test"))
    assert not np.array_equal(first, picture(1, "train"))
