"""Camera model, scale and shift, depth and point clouds, calibration file. Knows torch, no ROS."""
