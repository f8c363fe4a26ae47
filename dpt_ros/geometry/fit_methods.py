"""The names of the methods that fit a line; `dpt_ros.geometry.fit` has them. Knows no torch."""

FIT_METHODS = ("least_squares", "median", "ransac", "huber", "tukey", "trimmed", "robust")
"""See `dpt_ros.geometry.fit.fit_line` for what each does."""
