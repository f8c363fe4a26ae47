"""Depth from a camera with DPT (Dense Prediction Transformers), for ROS 2."""

__version__ = "0.1.0"
