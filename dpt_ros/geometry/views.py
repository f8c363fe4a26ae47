"""Whether two cameras see the world alike: what a calibration of one is worth for the other."""

from __future__ import annotations

import torch

from dpt_ros.geometry.camera import Camera

FOCAL_TOLERANCE = 0.01
"""Relative difference of focal length per image side up to which two cameras are alike."""
RAY_TOLERANCE_DEG = 2.0
"""Angle between the rays of the same place in the image up to which two cameras are alike."""

_GRID = (8, 6)


def view_difference(expected: Camera, got: Camera) -> str:
    """How the view of a camera differs from that of another, for a message; "" if it does not.

    The network sees the image resized, so that image sizes do not count: focal lengths are compared
    per image side. Then a lens that bends, or a shifted principal point (a crop), shows in the
    rays, which are compared at 8 x 6 places spread over the image.
    """
    pairs = (
        ("fx / width", expected.fx_px / expected.width, got.fx_px / got.width),
        ("fy / height", expected.fy_px / expected.height, got.fy_px / got.height),
    )
    for name, wanted, found in pairs:
        if abs(found - wanted) > FOCAL_TOLERANCE * wanted:
            return f"{name} is {found:.4f}, expected {wanted:.4f}"
    angle_deg = _largest_angle_deg(expected, got)
    if angle_deg <= RAY_TOLERANCE_DEG:
        return ""
    return (
        f"its rays differ by up to {angle_deg:.0f} deg: {_describe(got)}; expected "
        f"{_describe(expected)}"
    )


def _largest_angle_deg(one: Camera, other: Camera) -> float:
    """Over the grid; 180 where one camera has a ray and the other none."""
    rays = torch.stack([camera.scaled(*_GRID).rays().double() for camera in (one, other)])
    missing = rays.isnan().any(-1)
    if bool((missing[0] != missing[1]).any()):
        return 180.0
    directions = torch.nn.functional.pad(rays.nan_to_num(0.0), (0, 1), value=1.0)
    cross = torch.linalg.cross(directions[0], directions[1]).norm(dim=-1)
    dot = (directions[0] * directions[1]).sum(-1)
    return float(torch.rad2deg(torch.atan2(cross, dot)).max())


def _describe(camera: Camera) -> str:
    lens = "no distortion" if camera.distortion_model == "none" else camera.distortion_model
    return (
        f"principal point at {camera.cx_px / camera.width:.2f} of the width and "
        f"{camera.cy_px / camera.height:.2f} of the height, {lens}"
    )
