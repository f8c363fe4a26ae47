"""Install dpt_ros with pip or colcon; both put launch, config and models under share/dpt_ros."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "dpt_ros"
SHARE = f"share/{NAME}"
# `colcon build --symlink-install` runs a link to this file, in a folder without the README.
SOURCE = Path(__file__).resolve().parent


def files(folder: str) -> list[str]:
    """The files of a top-level folder, relative to this one."""
    return sorted(str(path) for path in Path(folder).iterdir() if path.is_file())


setup(
    name=NAME,
    version="0.1.0",
    description="Depth images and point clouds from a camera with DPT, for ROS 2",
    long_description=(SOURCE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    maintainer="the dpt_ros authors",
    maintainer_email="maintainers@dpt-ros.example",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed"], f"{NAME}.report": ["*.html", "*.css"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        *((f"{SHARE}/{folder}", files(folder)) for folder in ("launch", "config", "models")),
        # `ros2 run` looks here; see setup.cfg.
        (f"lib/{NAME}", ["resource/depth_node", "resource/evaluator_node"]),
    ],
    python_requires=">=3.10",
    install_requires=[
        "accelerate>=1.0",
        "jinja2>=3",
        "matplotlib>=3.5",
        "numpy",
        "nvidia-ml-py>=12",
        "opencv-python>=4.5",
        "pillow",
        "psutil",
        "PyYAML",
        "rosbags>=0.11",
        "safetensors",
        "scipy>=1.8",
        "tensorboard",
        "timm>=1.0.22,<1.1",
        "torch>=2.6",
        "tqdm",
    ],
    extras_require={
        "foxglove": ["foxglove-sdk"],
        "onnx": ["onnx", "onnxscript"],  # and onnxruntime, where it is there, checks the export
        "test": ["pytest"],  # colcon test takes pytest where it stands here
    },
    entry_points={"console_scripts": ["dpt-ros = dpt_ros.cli.main:main"]},
    zip_safe=False,
)
