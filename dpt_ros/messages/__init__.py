"""ROS messages to arrays and back; no rclpy, so live messages and those of a bag share it."""
