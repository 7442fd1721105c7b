"""SIGTERM and SIGINT as an event, so that a command ends in good order."""

import signal
import threading
from types import FrameType


def stop_event() -> threading.Event:
    """Set by the first SIGTERM or SIGINT. Call it in the main thread."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop
