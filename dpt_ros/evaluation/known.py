"""Scale and shift that are known without looking at truth, of a model that runs elsewhere."""

from __future__ import annotations

from dpt_ros.evaluation.alignment import Known
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
