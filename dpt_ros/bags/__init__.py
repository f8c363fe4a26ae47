"""rosbag2 recordings, read without a ROS installation."""
