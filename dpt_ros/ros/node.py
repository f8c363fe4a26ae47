"""The lifecycle node `dpt`: wires parameters, cameras, the network and the diagnostics."""

from __future__ import annotations

import contextlib
import gc
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType, JumpThreshold  # type: ignore[attr-defined]
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from dpt_ros.config import ConfigError
from dpt_ros.inference.metres import Metres
from dpt_ros.ros.camera_stream import CameraStream, ReceivedImage
from dpt_ros.ros.diagnostics import DEPTH_LIMITS, NodeState, camera_status, network_status
from dpt_ros.ros.parameters import SET_FIXED, NodeParameters
from dpt_ros.ros.qos import unused_overrides, unused_overrides_message
from dpt_ros.ros.settings import NodeSettings
from dpt_ros.ros.tell import Teller
from dpt_ros.ros.topics import CameraTopics
from dpt_ros.ros.worker import Worker

if TYPE_CHECKING:
    from dpt_ros.ros.network import Network
    from dpt_ros.ros.processing import Processor

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
STOP_S = 30.0
"""How long a transition waits for the frame in work; a full-size network on a CPU takes seconds."""


class DepthNode(LifecycleNode):
    """Depth from cameras; configures and activates itself unless `autostart` is false.

    Raises:
        ConfigError: a parameter given at the start is of the wrong type or out of range.
    """

    def __init__(self) -> None:
        super().__init__("dpt", automatically_declare_parameters_from_overrides=True)
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._teller = Teller(self.get_logger().warning)
        self._ready = threading.Condition()
        self._network: Network | None = None
        self._metres: Metres | None = None
        self._processor: Processor | None = None
        self._worker: Worker[ReceivedImage] | None = None
        self._streams: list[CameraStream] = []
        self._transition_error = ""
        self._is_finalized = False
        self._settings = NodeParameters(
            self, NodeSettings, lambda: self._network is not None, self._apply
        )
        if self._settings.unknown:
            self.get_logger().warning(self._settings.unknown_message())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._publish_diagnostics, clock=self._steady_clock)
        self._clock_watch = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
            ),
            post_callback=self._on_clock_jump,
        )
        if self._settings.config.autostart:
            self._start_timer = self.create_timer(0.0, self._autostart, clock=self._steady_clock)

    def _autostart(self) -> None:
        self._start_timer.cancel()
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    # Transitions. rclpy swallows exceptions of these callbacks, so that each tells of its own.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights and the calibration, and make the publishers."""
        settings = self._settings.config
        self._transition_error = ""
        try:
            from dpt_ros.ros.network import Network  # takes seconds: what it imports is large

            self._network = Network.load(settings, self.context.ok)
            self._metres = Metres(self._network.predictor, settings.calibration)
            self._network.narrow_limits = self._metres.limits
            self._network.apply(settings)
            self._streams = [
                CameraStream(self, topics, self._ready, self._teller)
                for topics in (CameraTopics(),)
            ]
            for stream in self._streams:
                stream.outputs.open(settings.publish_millimetres)
        except Exception as error:
            return self._configure_failed(error)
        self._tell_configured(self._network, self._metres)
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the cameras and start the worker."""
        return self._guarded("activate", "activated", self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen no more, and wait for the frame in work; one that hangs is given up."""

        def deactivate() -> None:
            try:
                self._deactivate(STOP_S)
            except TimeoutError as error:
                # Failing would leave a node that says it is active and hears nothing.
                self.get_logger().warning(
                    f"{error}: it will not be published; activate and cleanup wait for its end"
                )

        return self._guarded("deactivate", "deactivated", deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take the publishers away and give the device's memory back."""

        def clean_up() -> None:
            self._deactivate(STOP_S)  # a frame that was given up may still be in the network
            self._clean_up()

        return self._guarded("cleanup", "cleaned up", clean_up)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and give everything back, from whatever state."""

        def stop() -> None:
            self._is_finalized = True
            self._deactivate(STOP_S)
            self._clean_up()

        outcome = self._guarded("shutdown", "shut down", stop)
        self.get_logger().info(
            "finalized: no transition leads on from here; end this process (Ctrl-C) and start it "
            "anew"
        )
        return outcome

    def stop(self, timeout_s: float) -> None:
        """Stop the worker before the process ends; one that is busy for longer is given up."""
        with contextlib.suppress(TimeoutError):
            self._deactivate(timeout_s)

    def _activate(self) -> None:
        self._deactivate(STOP_S)  # a frame that was given up may still be in the network
        try:
            self._start()
        except Exception:
            self._deactivate(STOP_S)  # or a worker would be left that nobody knows
            raise

    def _start(self) -> None:
        if self._network is None or self._metres is None:
            raise RuntimeError("the node is not configured")
        from dpt_ros.ros.processing import Processor

        self._processor = Processor(
            self._network,
            self._metres,
            lambda: self._settings.config,
            lambda: self.get_clock().now().nanoseconds,
            self._teller,
        )
        self._worker = Worker(
            self._ready,
            [stream.mailbox for stream in self._streams],
            self._processor.process,
            self._on_worker_error,
        )
        # The model and everything imported stay: keep the garbage collector from walking them.
        gc.collect()
        gc.freeze()
        self._worker.start()
        for stream in self._streams:
            stream.subscribe(self._settings.config.image_transport)
            self.get_logger().info(
                f"listening to {stream.image_topic} and {stream.camera_info_topic}"
            )
        optional = [stream.outputs.optional_topic for stream in self._streams]
        if unused := unused_overrides(self, self._settings.overrides, optional):
            self.get_logger().warning(unused_overrides_message(unused))

    def _deactivate(self, timeout_s: float) -> None:
        """Listen no more, and wait for the frame in work; one that takes longer is given up.

        Raises:
            TimeoutError: it is still in the network, of which nothing may be freed until it ends.
        """
        for stream in self._streams:
            stream.unsubscribe()
        has_ended = self._worker is None or self._worker.stop(timeout_s)
        for stream in self._streams:
            stream.forget()
        if not has_ended:
            if self._processor is not None:
                self._processor.give_up()
            self._processor = None
            raise TimeoutError(f"the frame in work did not end within {timeout_s:g} s")
        self._worker = None
        self._processor = None

    def _clean_up(self) -> None:
        for stream in self._streams:
            stream.outputs.close()
        self._streams = []
        self._metres = None
        network, self._network = self._network, None
        gc.unfreeze()
        if network is not None:
            network.free()

    def _guarded(
        self, name: str, done: str, action: Callable[[], None]
    ) -> TransitionCallbackReturn:
        self._transition_error = ""
        try:
            action()
        except Exception as error:
            text = self._described(error)
            self._transition_error = f"not {done}: {text}"
            self.get_logger().error(f"{name} failed: {text}{self._remedy(name, error)}")
            self.get_logger().debug(traceback.format_exc())
            return FAILURE
        return SUCCESS

    def _remedy(self, transition: str, error: Exception) -> str:
        """A line with the commands to go on after a transition that failed."""
        set_state = f"ros2 lifecycle set {self.get_fully_qualified_name()}"
        if isinstance(error, TimeoutError) and transition != "shutdown":
            return f"\nOnce it has ended: {set_state} {transition}"
        if transition != "activate":
            return ""
        return (
            f"\nOnce it is mended: {set_state} activate. To set a parameter right: {set_state} "
            f"cleanup; ros2 param set {self.get_fully_qualified_name()} ...; {set_state} "
            f"configure; {set_state} activate"
        )

    def _configure_failed(self, error: Exception) -> TransitionCallbackReturn:
        if not self.context.ok():
            raise KeyboardInterrupt from error  # a signal shut ROS down while the model loaded
        expected = isinstance(error, (ValueError, OSError, ImportError))
        text = str(error) if expected else self._described(error)
        text = _with_parameter(text, self._settings.config)
        trace = traceback.format_exc()
        traceback.clear_frames(error.__traceback__)  # they may hold the half-loaded model
        self._clean_up()
        _release_memory()
        self._transition_error = f"not configured: {text}"
        name = self.get_fully_qualified_name()
        self.get_logger().error(
            f"configure failed: {text}\nSet the parameter right (ros2 param set {name} ...), then: "
            f"ros2 lifecycle set {name} configure; ros2 lifecycle set {name} activate"
        )
        if not expected:
            self.get_logger().error(trace)
        return FAILURE

    def _described(self, error: Exception) -> str:
        """Its kind and text; rclpy says little of a quality of service that it cannot read."""
        text = f"{type(error).__name__}: {error}"
        given = self._settings.overrides
        if given and isinstance(error, (AssertionError, RuntimeError)):
            text = f"{text}; is one of these wrong? {', '.join(given)}"
        return text

    def _tell_configured(self, network: Network, metres: Metres) -> None:
        predictor = network.predictor
        log = self.get_logger().info
        log(f"{predictor.model_name} from {predictor.checkpoint_path}")
        log(f"device {predictor.device}: {predictor.device_reason}")
        log(f"precision {predictor.precision}: {predictor.precision_reason}")
        if metres.source == "none":
            log("metres from: none, so no depth and no points; set the parameter calibration")
        else:
            log(f"metres from: {metres.source}")
            self._tell_limits(metres, self._settings.config)

    def _tell_limits(self, metres: Metres, settings: NodeSettings) -> None:
        self.get_logger().info(
            f"{DEPTH_LIMITS}: {metres.limits_in_force(settings.depth)}; what is nearer or farther "
            "is -Inf or +Inf in depth images, and is missing in the cloud"
        )

    def _apply(self, settings: NodeSettings) -> None:
        """Put live parameters in force, all or none.

        Raises:
            ConfigError: one can't be; any other error would end the process from here.
        """
        before = self._settings.config
        if self._network is not None:
            self._network.apply(settings)
        try:
            for stream in self._streams:
                stream.outputs.set_millimetres(settings.publish_millimetres)
        except Exception as error:
            if self._network is not None:
                self._network.apply(before)
            raise ConfigError(
                f"publish_millimetres: {self._described(error)}. To set one of them: {SET_FIXED}"
            ) from error
        if self._metres is not None and settings.depth != before.depth:
            self._tell_limits(self._metres, settings)

    def _on_worker_error(self, error: Exception) -> None:
        if not self.context.ok():
            return  # shutting down: publishers are gone
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._teller.tell("worker", f"a frame was lost to an unexpected error:\n{text}")
        if self._processor is not None:
            self._processor.report(error)

    def _on_clock_jump(self, jump: object) -> None:
        for stream in self._streams:
            stream.forget_clock()

    def _publish_diagnostics(self) -> None:
        state = self._state()
        prefix = self.get_fully_qualified_name().lstrip("/")
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        message.status = [network_status(prefix, state, self._settings.config, self._network)]
        message.status += [
            camera_status(prefix, stream, self._metres, state, self._settings.config.depth)
            for stream in self._streams
        ]
        self._diagnostics.publish(message)
        for stream in self._streams:
            stream.tell_arrival()

    def _state(self) -> NodeState:
        if self._processor is None or self._worker is None:
            label = "unconfigured" if self._network is None else "inactive"
            label = "finalized" if self._is_finalized else label
            return NodeState(label, self._transition_error)
        if not self._worker.is_alive():
            return NodeState("active", failure="the worker's thread ended: restart the node")
        return NodeState("active", self._transition_error, self._processor.failure())


def _with_parameter(text: str, settings: NodeSettings) -> str:
    """What is wrong with a file, with the parameter that names it."""
    for name in ("checkpoint", "calibration"):
        path = getattr(settings, name)
        if path and text.startswith(f"{Path(path).expanduser()}: "):
            return f"{name} {text}"
    return text


def _release_memory() -> None:
    with contextlib.suppress(ImportError):  # what could not be imported holds no memory
        from dpt_ros.ros.network import release_memory  # takes seconds: what it imports is large

        release_memory()
