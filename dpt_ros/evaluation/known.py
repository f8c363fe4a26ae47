"""Scale and shift that are known without looking at truth, of a model that runs elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dpt_ros.evaluation.alignment import Known
from dpt_ros.geometry.calibration import load_calibration
from dpt_ros.geometry.camera import Camera
from dpt_ros.inference.identity import ModelIdentity
from dpt_ros.inference.metres import Metres, MetresOfImage, find_calibration


class KnownMetres:
    """What makes the depth of a running node metric, as `dpt-ros evaluate` knows it.

    Args:
        model: what runs.
        calibration: a calibration file, "bundled", or "" for none.

    Raises:
        CalibrationError: it can't be read, or belongs to something else.
    """

    def __init__(self, model: ModelIdentity, calibration: str) -> None:
        self.calibration_path = ""
        if calibration:
            self.calibration_path = str(find_calibration(calibration, model.model_name).resolve())
        self._own = Metres(model, "")
        self._calibrated = Metres(model, self.calibration_path) if calibration else None
        self._fitted_to = _fitted_to(self.calibration_path) if calibration else set()
        self.has_any = bool(calibration) or model.metric_scale_shift is not None

    @property
    def source(self) -> str:
        """What makes depth metric, for people."""
        return (self._calibrated or self._own).source

    def of_camera(self, camera: Camera) -> Known:
        """By alignment: scale and shift for this camera, or why there are none."""
        size = camera.width, camera.height
        calibrated = MetresOfImage(why_not="no calibration was given")
        if self._calibrated is not None:
            calibrated = self._calibrated.of_image(*size, camera)
        return {"none": self._own.of_image(*size, camera), "calibration": calibrated}

    def doubt(self, sources: Iterable[str]) -> str:
        """That what is scored was fitted to; "" if it was not, as far as names tell.

        Args:
            sources: names of the recordings that are scored.
        """
        seen = sorted(self._fitted_to.intersection(sources))
        if not seen:
            return ""
        return (
            f"the calibration was fitted to {listed(seen)}, by name: its errors there are those of "
            "the fit, expect larger ones elsewhere; score a drive that was not fitted"
        )


def listed(names: list[str]) -> str:
    """Some names for people."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _fitted_to(calibration_path: str) -> set[str]:
    """The recordings that `dpt-ros fit` noted as fitted to, of 50 at most."""
    per_frame = load_calibration(calibration_path).fit.get("per_frame")
    by_source = per_frame.get("by_source") if isinstance(per_frame, Mapping) else None
    if not isinstance(by_source, Mapping):
        return set()
    return {
        str(name)
        for name, row in by_source.items()
        if isinstance(row, Mapping) and row.get("held_out") is False
    }
