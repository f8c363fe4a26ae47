from __future__ import annotations

import itertools
import re
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dpt_ros.bags.reader import BagError, BagReader, BagTopic
from dpt_ros.messages.camera_info import camera_from_info
from dpt_ros.messages.decode import image_to_rgb

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
TF = "tf2_msgs/msg/TFMessage"
STORE = get_typestore(Stores.ROS2_JAZZY)
RECORDED_NS = 5_000_000_000
PLUGINS = [StoragePlugin.MCAP, StoragePlugin.SQLITE3]
DATA = Path(__file__).parents[3] / "shared" / "data"


def header(index):
    """Stamps of 1 s, 2 s, ... and as many nanoseconds."""
    stamp = STORE.types["builtin_interfaces/msg/Time"](index + 1, index + 1)
    return STORE.types["std_msgs/msg/Header"](stamp, "camera")


def image(index, side=8):
    data = np.full(side * side * 3, index, np.uint8)
    return STORE.types[IMAGE](header(index), side, side, "rgb8", 0, side * 3, data)


def compressed(index):
    return STORE.types[COMPRESSED](header(index), "jpeg", np.full(4, index, np.uint8))


def transforms(_index):
    return STORE.types[TF]([])


MAKERS = {IMAGE: image, COMPRESSED: compressed, TF: transforms}


def write_bag(path, topics, count=3, plugin=StoragePlugin.MCAP, compression=None, maker=None):
    """`count` messages a topic, turn by turn, recorded one second apart."""
    with_compression = Writer(path, version=9, storage_plugin=plugin)
    if compression is not None:
        with_compression.set_compression(compression, CompressionFormat.ZSTD)
    with with_compression as writer:
        connections = {
            name: writer.add_connection(name, kind, typestore=STORE) for name, kind in topics
        }
        for index in range(count):
            for name, kind in topics:
                message = (maker or MAKERS[kind])(index)
                recorded_ns = RECORDED_NS + index * 1_000_000_000
                writer.write(connections[name], recorded_ns, STORE.serialize_cdr(message, kind))
    return path


def storage_file(bag):
    return next(file for file in bag.iterdir() if file.suffix in (".mcap", ".db3"))


@pytest.fixture(params=PLUGINS, ids=["mcap", "sqlite3"])
def plugin(request):
    return request.param


def test_lists_topics_with_types_and_counts(tmp_path, plugin):
    bag = write_bag(tmp_path / "bag", [("/b", IMAGE), ("/a", COMPRESSED)], 3, plugin)
    with BagReader(bag) as reader:
        assert reader.topics == (BagTopic("/a", COMPRESSED, 3), BagTopic("/b", IMAGE, 3))
        assert reader.topics_of([IMAGE]) == (BagTopic("/b", IMAGE, 3),)


def test_messages_come_in_order_with_their_own_stamps(tmp_path, plugin):
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE), ("/tf", TF)], 3, plugin)
    with BagReader(bag) as reader:
        read = [(topic, stamp_ns) for topic, stamp_ns, _ in reader.messages()]
        assert sorted(read[:2]) == [("/image", 1_000_000_001), ("/tf", RECORDED_NS)]
        assert [stamp for topic, stamp in read if topic == "/image"] == [
            1_000_000_001,
            2_000_000_002,
            3_000_000_003,
        ]
        tf_stamps = [stamp_ns for _, stamp_ns, _ in reader.messages("/tf")]
        assert tf_stamps == [5_000_000_000, 6_000_000_000, 7_000_000_000]


@pytest.mark.parametrize("kind", [IMAGE, COMPRESSED])
def test_images_of_the_only_image_topic(tmp_path, plugin, kind):
    bag = write_bag(tmp_path / "bag", [("/tf", TF), ("/camera", kind)], 3, plugin)
    with BagReader(bag) as reader:
        read = list(reader.images())
    assert [message.topic for message in read] == ["/camera"] * 3
    assert [int(message.message.data[0]) for message in read] == [0, 1, 2]


def test_images_of_a_chosen_topic(tmp_path):
    bag = write_bag(tmp_path / "bag", [("/left", IMAGE), ("/right", COMPRESSED)])
    with BagReader(bag) as reader:
        assert {message.topic for message in reader.images("/right")} == {"/right"}


def test_several_image_topics_need_a_choice(tmp_path):
    bag = write_bag(tmp_path / "bag", [("/left", IMAGE), ("/right", COMPRESSED), ("/tf", TF)])
    with BagReader(bag) as reader, pytest.raises(BagError) as error:
        reader.images()
    assert "no topic was chosen with --image-topic: expected one of" in str(error.value)
    assert f"/left ({IMAGE}, 3), /right ({COMPRESSED}, 3)" in str(error.value)
    assert "/tf" not in str(error.value)


def test_the_option_that_chooses_a_topic_is_named(tmp_path):
    kind = "sensor_msgs/msg/CameraInfo"
    maker = MAKERS[TF]
    bag = write_bag(tmp_path / "bag", [("/a", TF), ("/b", TF)], maker=maker)
    with BagReader(bag) as reader:
        with pytest.raises(BagError, match=f"no messages of type {kind}"):
            reader.find_topic([kind])
        with pytest.raises(BagError, match="no topic was chosen: expected"):
            reader.find_topic([TF])
        with pytest.raises(BagError, match="no topic was chosen with topic:=: expected"):
            reader.find_topic([TF], option="topic:=")


@pytest.mark.parametrize("topic", ["/tf", "/nowhere"])
def test_wrong_image_topic_lists_the_image_topics(tmp_path, topic):
    bag = write_bag(tmp_path / "bag", [("/left", IMAGE), ("/tf", TF)])
    with BagReader(bag) as reader, pytest.raises(BagError) as error:
        reader.images(topic)
    assert f"got topic '{topic}'" in str(error.value)
    assert str(error.value).endswith(f"/left ({IMAGE}, 3)")


def test_no_image_topic_lists_all_topics(tmp_path):
    bag = write_bag(tmp_path / "bag", [("/tf", TF)])
    with BagReader(bag) as reader, pytest.raises(BagError, match=r"no messages .*/tf \(tf2_msgs"):
        reader.images()


def test_unknown_topic_is_refused_before_iterating(tmp_path):
    bag = write_bag(tmp_path / "bag", [("/left", IMAGE)])
    with BagReader(bag) as reader, pytest.raises(BagError, match=r"'/x', '/y'.*/left"):
        reader.messages("/x", "/left", "/y")


def test_single_storage_file(tmp_path, plugin):
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE)], 3, plugin)
    with BagReader(storage_file(bag)) as reader:
        assert reader.topics == (BagTopic("/image", IMAGE, 3),)
        assert len(list(reader.images())) == 3


def test_folder_without_metadata(tmp_path, plugin):
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE)], 3, plugin)
    (bag / "metadata.yaml").unlink()
    with BagReader(bag) as reader:
        assert len(list(reader.images())) == 3


@pytest.mark.parametrize(
    ("storage", "mode"),
    [
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
    ],
)
def test_compressed_bags(tmp_path, storage, mode):
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE)], 3, storage, mode)
    with BagReader(bag) as reader:
        assert [int(message.message.data[0]) for message in reader.images()] == [0, 1, 2]


def without_definitions(bag):
    """Make a sqlite3 recording one as Humble and older write them."""
    with sqlite3.connect(storage_file(bag)) as database:
        database.execute("UPDATE schema SET schema_version = 3")
        database.execute("DROP TABLE message_definitions")
    database.close()
    metadata = (bag / "metadata.yaml").read_text()
    metadata = re.sub(r"type_description_hash:\s+\S+", "type_description_hash: ''", metadata)
    (bag / "metadata.yaml").write_text(metadata)
    return bag


def test_bag_without_message_definitions(tmp_path):
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE)], 3, StoragePlugin.SQLITE3)
    with BagReader(without_definitions(bag)) as reader:
        first = next(reader.images())
    assert first.stamp_ns == 1_000_000_001
    assert image_to_rgb(first.message).shape == (8, 8, 3)


def test_type_without_definition_is_named(tmp_path):
    kind = "my_msgs/msg/Thing"
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE)], 1, StoragePlugin.SQLITE3)
    with sqlite3.connect(storage_file(bag)) as database:
        database.execute("UPDATE topics SET type = ?", [kind])
    database.close()
    metadata = (bag / "metadata.yaml").read_text().replace(IMAGE, kind)
    (bag / "metadata.yaml").write_text(metadata)
    match = "no definition of my_msgs/msg/Thing, which /image"
    with BagReader(without_definitions(bag)) as reader, pytest.raises(BagError, match=match):
        reader.messages()


def test_reads_lazily(tmp_path):
    """A recording damaged at its end still gives its first messages, and closes early."""
    bag = write_bag(
        tmp_path / "bag",
        [("/image", IMAGE)],
        20,
        StoragePlugin.SQLITE3,
        maker=lambda index: image(index, side=64),
    )
    with sqlite3.connect(storage_file(bag)) as database:
        database.execute("UPDATE messages SET data = x'00010000ff' WHERE id = 20")
    database.close()
    with BagReader(bag) as reader:
        read = list(itertools.islice(reader.images(), 19))
        assert [message.stamp_ns // 1_000_000_000 for message in read] == list(range(1, 20))
        with pytest.raises(BagError, match="cannot be read"):
            list(reader.images())


def test_messages_outlive_the_reader(tmp_path):
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE)])
    with BagReader(bag) as reader:
        messages = list(reader.images())
    assert image_to_rgb(messages[2].message)[0, 0, 0] == 2


def test_closed_reader_says_how_to_open(tmp_path):
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE)])
    reader = BagReader(bag)
    with pytest.raises(BagError, match="is not open: use `with"):
        _ = reader.topics
    with reader:
        images = reader.images()
    with pytest.raises(BagError, match="is not open"):
        next(images)
    with reader:  # and it opens again
        assert len(list(reader.images())) == 3


def check_refused(path, match):
    with pytest.raises(BagError, match=match) as error, BagReader(path):
        pass
    assert str(path) in str(error.value)


def test_missing_bag(tmp_path):
    check_refused(tmp_path / "nowhere", "there is no recording")


def test_folder_that_is_no_bag(tmp_path):
    check_refused(tmp_path, "no metadata.yaml and 0 storage files.*give a folder as `ros2 bag")


def test_folder_of_several_files_without_metadata(tmp_path):
    for name in ("a", "b"):
        bag = write_bag(tmp_path / name, [("/image", IMAGE)])
        shutil.copy(storage_file(bag), tmp_path / f"{name}.mcap")
    check_refused(tmp_path, "2 storage files.*ros2 bag reindex")


@pytest.mark.parametrize("suffix", [".txt", ".zstd", ""])
def test_other_file(tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(b"something")
    check_refused(path, "expected a rosbag2 folder or a .mcap or .db3 file")


def test_ros1_bag(tmp_path):
    path = tmp_path / "old.bag"
    path.write_bytes(b"#ROSBAG V2.0\n")
    check_refused(path, "ROS 1 bag: convert it with `rosbags-convert`")
    check_refused(tmp_path, "convert the ROS 1 bag in it with `rosbags-convert`")


def test_bag_without_messages(tmp_path, plugin):
    check_refused(write_bag(tmp_path / "bag", [("/image", IMAGE)], 0, plugin), "no messages")


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_empty_file(tmp_path, suffix):
    path = tmp_path / f"empty{suffix}"
    path.touch()
    check_refused(path, "cannot be read")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.99])
@pytest.mark.parametrize("whole_folder", [True, False])
def test_truncated_bag(tmp_path, plugin, share, whole_folder):
    bag = write_bag(
        tmp_path / "bag",
        [("/image", IMAGE)],
        20,
        plugin,
        maker=lambda index: image(index, side=64),
    )
    path = storage_file(bag)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BagError, match="cannot be read"):  # noqa: SIM117
        with BagReader(bag if whole_folder else path) as reader:
            list(reader.images())


def test_a_sqlite3_file_that_ends_within_a_page_is_not_read_with_zeros_there(tmp_path):
    """What SQLite makes of half a page depends on its version."""
    bag = write_bag(tmp_path / "bag", [("/image", IMAGE)], 20, StoragePlugin.SQLITE3)
    path = storage_file(bag)
    path.write_bytes(path.read_bytes()[:-100])
    check_refused(bag, "ends within a page of 4096 bytes")
    check_refused(path, "ends within a page of 4096 bytes")


@pytest.mark.parametrize(
    ("name", "width", "height", "fx_px"),
    [("kitti_000000", 1224, 370, 707.0493), ("kitti_000001", 1242, 375, 721.5377)],
)
def test_recorded_camera(name, width, height, fx_px):
    bag = DATA / name
    if not bag.exists():
        pytest.skip(f"needs the KITTI recording {name}")
    with BagReader(bag) as reader:
        assert {topic.name: topic.count for topic in reader.topics} == {
            "/camera/camera_info": 1,
            "/camera/image_rect": 1,
            "/lidar/points": 1,
            "/tf_static": 1,
        }
        image_message = next(reader.images())
        info_message = next(reader.messages("/camera/camera_info"))
    assert image_message.stamp_ns == info_message.stamp_ns
    rgb = image_to_rgb(image_message.message)
    assert rgb.shape == (height, width, 3)
    camera = camera_from_info(info_message.message, True, width, height)
    assert (camera.width, camera.height) == (width, height)
    assert camera.fx_px == pytest.approx(fx_px)


def test_recorded_colours():
    """The tiled wall of kitti_000000 (rgb8) and the sky of kitti_000001 (bgr8) are blue."""
    windows = {
        "kitti_000000": (slice(80, 120), slice(100, 300)),
        "kitti_000001": (slice(0, 40), slice(850, 1000)),
    }
    for name, window in windows.items():
        if not (DATA / name).exists():
            pytest.skip(f"needs the KITTI recording {name}")
        with BagReader(DATA / name) as reader:
            rgb = image_to_rgb(next(reader.images()).message)
        red, _, blue = rgb[window].reshape(-1, 3).mean(0)
        assert blue > red + 10
