"""Runs the graph of a bundle over recorded frames, as the edge agent does: the figures are those of the file itself."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, BundleError

Floats = NDArray[np.float64]

AT_ONCE = 2**20  # values of windows that are run together
_BY_CHANNEL = ("contribution", "direction")


class Runner:
    """One graph in ONNX Runtime, on the CPU with one thread."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises BundleError: ONNX Runtime refuses the graph; ModuleNotFoundError where it is not installed."""
        import onnxruntime  # noqa: PLC0415 - the extra may be missing

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(bundle.model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no other base
            msg = f"{bundle.manifest.name}: ONNX Runtime refuses the graph: {error}"
            raise BundleError(msg) from error
        self._manifest = bundle.manifest

    def outputs(self, frames: Floats) -> dict[str, Floats]:
        """Of each window of one run [rows, channels], one starting at each row: [n], or [n, channels]."""
        manifest = self._manifest
        n = max(0, len(frames) - manifest.window + 1)
        if not n:
            return {name: np.empty((0, manifest.width) if name in _BY_CHANNEL else 0) for name in manifest.outputs}
        windows = np.lib.stride_tricks.sliding_window_view(frames, manifest.window, axis=0).transpose(0, 2, 1)
        size = 1 if manifest.state else max(1, AT_ONCE // (manifest.window * manifest.width))
        state = np.zeros((1, manifest.state), np.float32)
        parts = []
        for begin in range(0, n, size):
            given = {"window": windows[begin : begin + size].astype(np.float32)}
            wanted = list(manifest.outputs)
            if manifest.state:
                given["state"] = state
                *part, state = self._session.run([*wanted, "state_next"], given)
            else:
                part = self._session.run(wanted, given)
            parts.append(part)
        joined = [np.concatenate(each).astype(np.float64) for each in zip(*parts, strict=True)]
        return {
            name: values if name in _BY_CHANNEL else values[:, 0]
            for name, values in zip(manifest.outputs, joined, strict=True)
        }
