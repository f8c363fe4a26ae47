"""Pictures to run on, whatever the user names: a picture, a folder, a video or a rosbag2."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpt_ros.cli.camera_file import read_camera_file
from dpt_ros.cli.numbers import counted
from dpt_ros.geometry.camera import Camera

if TYPE_CHECKING:
    import cv2

    from dpt_ros.bags.reader import BagMessage, BagReader

PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"),
    *(".avif", ".jp2"),  # which not every build of OpenCV decodes
)
_IN_FOLDER = (*PICTURE_SUFFIXES, ".gif")
"""Of a GIF among pictures the first is taken; by itself it is read as a video."""
BAG_SUFFIXES = (".mcap", ".db3")
_ROS_1_SUFFIX = ".bag"
_SHOWN_KINDS = 6
_ADVICE = (
    "publish the camera_info of this picture",
    "name the file of this picture's camera with --camera, or give pictures of one size",
)
"""What a node is told of a camera that does not fit, and what a command is."""


@dataclass(frozen=True)
class Picture:
    """One picture of a source; no other of it has the same name.

    `rgb` is uint8 [H,W,3]; `camera` is None where nothing describes it; `stamp_ns` counts from the
    start of a video and is the header's stamp in a bag (0 for files).
    """

    name: str
    rgb: np.ndarray
    stamp_ns: int
    camera: Camera | None


class Source:
    """Iterates over pictures; `skipped` names those that could not be read, and why.

    `left_out` says what else is in a folder; "" where nothing is. `notes` tell of frames of a
    file that were not read.

    Args:
        path: picture, folder of pictures, video or bag (folder, .mcap or .db3).
        camera_file: camera_info YAML, see `read_camera_file`; describes the raw picture (K and D)
            unless `rectified`. None: a bag's own camera_info, else no camera.
        image_topic: which image topic of a bag; may be left out when there is only one.
        rectified: the pictures are rectified. None: for a bag, whether the topic's name says so;
            else False.

    Raises:
        FileNotFoundError: there is no such path.
        ValueError: nothing in it can be used, and the message says what was looked for; or an image
            topic was chosen of what is no bag.
    """

    def __init__(
        self,
        path: str | Path,
        camera_file: str | Path | None = None,
        image_topic: str | None = None,
        rectified: bool | None = None,
    ) -> None:
        self.path = Path(path)
        self.skipped: list[str] = []
        self.left_out = ""
        self.notes: list[str] = []
        self._camera_troubles: dict[str, list[str]] = {}
        self._names: set[str] = set()
        self._no_files: list[str] = []
        self._camera_info = None if camera_file is None else read_camera_file(camera_file)
        self._image_topic = image_topic
        self._rectified = rectified
        if not self.path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        self.kind = self._kind()
        if image_topic and self.kind != "bag":
            raise ValueError(
                f"--image-topic {image_topic}: only a bag has topics, and {path} is a {self.kind}; "
                "leave it out"
            )
        self._files = self._picture_files() if self.kind in ("picture", "folder") else []

    def _kind(self) -> str:
        if self.path.is_dir():
            return "bag" if _is_bag_folder(self.path) else "folder"
        if self.path.suffix.lower() in (*BAG_SUFFIXES, _ROS_1_SUFFIX):
            return "bag"  # its reader says what to do with one of ROS 1
        return "picture" if self.path.suffix.lower() in PICTURE_SUFFIXES else "video"

    def _picture_files(self) -> list[Path]:
        if self.kind == "picture":
            return [self.path]
        shown = sorted(path for path in self.path.iterdir() if not path.name.startswith("."))
        named = [path for path in shown if path.suffix.lower() in _IN_FOLDER]
        others = [path for path in shown if path.suffix.lower() not in _IN_FOLDER]
        self.left_out = _told_left_out(others)
        files = [path for path in named if path.is_file()]
        self._no_files = [_why_no_file(path) for path in named if not path.is_file()]
        if not files:
            if old := sorted(self.path.glob(f"*{_ROS_1_SUFFIX}")):
                raise ValueError(
                    f"{self.path}: holds ROS 1 bags ({old[0].name}): convert one with "
                    "`rosbags-convert`, and give what that writes"
                )
            raise ValueError(
                f"{self.path}: holds no picture ({', '.join(_IN_FOLDER)}) and no rosbag2 "
                "(metadata.yaml, .mcap, .db3)"
            )
        return files

    @property
    def camera_troubles(self) -> list[str]:
        """Why pictures came without their camera, each reason once, with the first such file."""
        told = []
        for reason, names in self._camera_troubles.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            told.append(f"{names[0]}{more}: {reason}" if names else reason)
        return told

    def picture_folders(self) -> set[Path]:
        """The folders that hold the files of a picture or folder; links are followed."""
        of_files = {file.resolve().parent for file in self._files}
        return of_files | {file.parent.resolve() for file in self._files}

    def count(self) -> int | None:
        """How many pictures there are, or about; None where it is not known."""
        if self.kind == "video":
            import cv2

            count = int(_open_video(self.path).get(cv2.CAP_PROP_FRAME_COUNT))
            return count if count > 0 else None
        if self.kind == "bag":
            from dpt_ros.bags.reader import BagReader
            from dpt_ros.bags.topics import image_topic

            with BagReader(self.path) as bag:
                topic = image_topic(bag, self._image_topic or "")
                return next(known.count for known in bag.topics if known.name == topic)
        return len(self._files)

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures in order; what can't be decoded goes to `skipped`."""
        self.skipped[:] = self._no_files
        self._camera_troubles.clear()
        self.notes.clear()
        self._names.clear()
        pictures = {"video": self._video, "bag": self._bag}.get(self.kind, self._pictures)
        return pictures()

    def _camera(
        self, info: object | None, width: int, height: int, by_name: bool, file: str = ""
    ) -> Camera | None:
        """The picture's camera; None, and why in `camera_troubles`, where it does not fit."""
        from dpt_ros.messages.camera_info import camera_from_info
        from dpt_ros.messages.errors import MessageError

        if info is None:
            return None
        rectified = by_name if self._rectified is None else self._rectified
        try:
            return camera_from_info(info, rectified, width, height)
        except MessageError as error:
            reason = str(error)
            if self._camera_info is not None:
                reason = reason.replace(*_ADVICE)
            self._camera_troubles.setdefault(reason, []).extend([file] if file else [])
            return None

    def _unique(self, name: str, suffix: str) -> str:
        """`name`; where that is taken `name_suffix`, then `name_suffix_2`, ..._3, ..."""
        longer = f"{name}_{suffix}"
        candidates = itertools.chain(
            [name, longer], (f"{longer}_{number}" for number in itertools.count(2))
        )
        unique = next(candidate for candidate in candidates if candidate not in self._names)
        self._names.add(unique)
        return unique

    def _pictures(self) -> Iterator[Picture]:
        from dpt_ros.cli.picture_file import PictureFileError, read_picture

        as_stored = self._camera_info is not None  # it is of the sensor's picture, not a turned one
        for path in self._files:
            try:
                rgb, frames = read_picture(path, as_stored)
            except PictureFileError as error:
                self.skipped.append(f"{path.name}: {error}")
                continue
            if frames > 1:
                self.notes.append(f"{path.name} has {frames} frames: the first is taken")
            height, width = rgb.shape[:2]
            camera = self._camera(self._camera_info, width, height, False, path.name)
            yield Picture(self._unique(path.stem, path.suffix[1:]), rgb, 0, camera)

    def _video(self) -> Iterator[Picture]:
        import cv2

        video = _open_video(self.path)
        if self._camera_info is not None:
            video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0.0)
        index = 0
        while True:
            is_read, bgr = video.read()
            if not is_read:
                total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))  # from its head, and about right
                if index < total - max(2, total // 50):
                    missing = f"{index} of about {total} frames could be read: was it cut off?"
                    self.notes.append(f"{self.path.name}: {missing}")
                return
            stamp_ns = int(video.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
            height, width = bgr.shape[:2]
            camera = self._camera(self._camera_info, width, height, False)
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            yield Picture(f"{self.path.stem}_{index:06d}", rgb, stamp_ns, camera)
            index += 1

    def _bag(self) -> Iterator[Picture]:
        from dpt_ros.bags.reader import BagReader
        from dpt_ros.bags.topics import camera_info_topic, image_topic, is_rectified
        from dpt_ros.messages.decode import MessageError, image_to_rgb

        with BagReader(self.path) as bag:
            topic = image_topic(bag, self._image_topic or "")
            info_topic = None if self._camera_info else camera_info_topic(bag, topic)
            first = self._camera_info or _first(bag, info_topic)
            if first is None and (trouble := _unclear_camera_info(bag, topic)):
                self._camera_troubles[trouble] = []
            by_name = is_rectified(topic)
            index = 0
            messages = bag.messages(topic, *([info_topic] if info_topic else []))
            for message, info in _with_camera_info(messages, info_topic, first):
                try:
                    rgb = image_to_rgb(message.message)
                except MessageError as error:
                    self.skipped.append(f"{topic} at {message.stamp_ns} ns: {error}")
                    continue
                camera = self._camera(info, rgb.shape[1], rgb.shape[0], by_name)
                # Stamps may repeat, or all be 0.
                name = self._unique(f"{self.path.stem}_{message.stamp_ns}", f"{index:06d}")
                index += 1
                yield Picture(name, rgb, message.stamp_ns, camera)


def _with_camera_info(
    messages: Iterable[BagMessage], info_topic: str | None, first: Any
) -> Iterator[tuple[BagMessage, Any]]:
    """Pictures with the last camera_info before each, or that of its stamp recorded just after.

    Where the messages end in an error, the last picture before it still comes.
    """
    from dpt_ros.bags.reader import BagError

    info, waiting, its_info = first, None, first
    damage = None
    try:
        for message in messages:
            if message.topic == info_topic:
                info = message.message
                if waiting is not None and message.stamp_ns == waiting.stamp_ns:
                    its_info = info
                continue
            if waiting is not None:
                yield waiting, its_info
            waiting, its_info = message, info
    except BagError as error:
        damage = error
    if waiting is not None:
        yield waiting, its_info
    if damage is not None:
        raise damage


def _first(bag: BagReader, topic: str | None) -> Any:
    """The first message of a topic: a picture may come before its camera_info."""
    return None if topic is None else next(bag.messages(topic)).message


def _unclear_camera_info(bag: BagReader, image_topic: str) -> str:
    """Why none of a bag's camera_info was taken for an image topic; "" where there is none."""
    from dpt_ros.bags.topics import CAMERA_INFO

    names = [topic.name for topic in bag.topics_of([CAMERA_INFO]) if topic.count]
    if not names:
        return ""
    if len(names) == 1:
        return f"the bag's only camera_info, {names[0]}, has another frame than {image_topic}"
    return f"the bag has several camera_info ({', '.join(names)}), and none beside {image_topic}"


def _told_left_out(paths: Sequence[Path]) -> str:
    """Such as "2 files of other kinds (.heic .txt), 1 folder"; "" of nothing."""
    files = [path for path in paths if not path.is_dir()]
    kinds = sorted({path.suffix.lower() or "no ending" for path in files})
    shown = " ".join([*kinds[:_SHOWN_KINDS], *(["..."] if len(kinds) > _SHOWN_KINDS else [])])
    parts = []
    if files:
        parts.append(f"{counted(len(files), 'file')} of other kinds ({shown})")
    if len(files) < len(paths):
        parts.append(counted(len(paths) - len(files), "folder"))
    return ", ".join(parts)


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return f"{path.name}: is a folder, not a picture"
    is_dangling = path.is_symlink() and not path.exists()
    return f"{path.name}: {'is a link to what is not there' if is_dangling else 'is no file'}"


def _is_bag_folder(folder: Path) -> bool:
    if any(path.suffix in BAG_SUFFIXES for path in folder.iterdir()):
        return True
    metadata = folder / "metadata.yaml"  # a name that others use, too
    return metadata.is_file() and b"rosbag2_bagfile_information" in metadata.read_bytes()


def _open_video(path: Path) -> cv2.VideoCapture:
    import cv2

    from dpt_ros.cli.picture_file import opencv_takes

    if not opencv_takes(path):
        raise ValueError(f"{path}: is no name in UTF-8, as OpenCV needs of a video; rename it")
    if path.is_file() and not path.stat().st_size:
        raise ValueError(f"{path}: is empty; record or copy it again")
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise ValueError(
            f"{path}: is not a video that OpenCV can open (was it cut off?), nor a picture "
            f"({', '.join(PICTURE_SUFFIXES)}), nor a bag ({', '.join(BAG_SUFFIXES)} or a folder)"
        )
    return video
