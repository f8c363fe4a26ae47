"""The ROS 2 node `dpt`: the only part of the package that imports rclpy."""
