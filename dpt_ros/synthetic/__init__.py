"""A rendered world with a camera and a LiDAR on a robot: pictures with exact depth, and bags."""
