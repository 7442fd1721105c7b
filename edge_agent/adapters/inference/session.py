"""One graph on one provider: runs of a fixed size. On a GPU its inputs and outputs keep their place in memory."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.adapters.inference.buckets import padded
from edge_agent.adapters.inference.wheels import onnx_runtime
from models.graph_check import expected_inputs, expected_outputs
from models.manifest import Manifest

Floats = NDArray[np.float32]
_BOUND_VALUES = 1 << 14  # 64 KiB: of a run whose places are bound on a CPU; larger ones would keep too much memory
_ALIGNED = 16
Outputs = list[NDArray[np.float64]]  # of float32 numbers, in the order of `Session.names`
Host = Callable[[Sequence[int]], Floats]  # makes an array of that shape for what is copied to the device


class Session(Protocol):
    """What a model needs of one. `Stoppable`, as `bounded` says."""

    begun_s: float
    is_stopped: bool
    names: tuple[str, ...]  # of the outputs, in the order of the manifest; then `state_next`

    def run(self, size: int, frames: Floats, state: Floats | None) -> Outputs:
        """Outputs [k, ...] of k windows in a run of `size`, which copies of the last one fill up.

        frames: float32 [k, window, width], k from 1 to size. state: float32 [k, state].
        """
        ...

    def record(self) -> None:
        """Use CUDA graphs from now on, where they are wanted. All runs that follow must come from one thread."""
        ...

    def stop(self) -> None:
        """End the present run, from another thread; no other may follow."""
        ...


class _Base:
    def __init__(self, session: Any, manifest: Manifest) -> None:  # noqa: ANN401 - onnxruntime has no types
        self.session = session
        self.names = tuple(expected_outputs(manifest))
        self.begun_s, self.is_stopped = 0.0, False
        self._options = run_options()

    def record(self) -> None:
        """As `Session` says."""

    def stop(self) -> None:
        """As `Session` says. ONNX Runtime looks between two operators."""
        self.is_stopped = True
        self._options.terminate = True


class PlainSession(_Base):
    """Arrays in, arrays out: for a CPU, whose memory they are in already.

    Eigen, which adds up some of ONNX Runtime's sums, takes the values before the first address that 16 divides by
    themselves: so the last bits depend on where an array begins, and one that begins elsewhere is copied.
    """

    def __init__(self, session: Any, manifest: Manifest) -> None:  # noqa: ANN401 - see above
        super().__init__(session, manifest)
        self._manifest, self._values = manifest, manifest.window * manifest.width
        self._places: dict[int, _Places] = {}

    def run(self, size: int, frames: Floats, state: Floats | None) -> Outputs:
        """As `Session` says."""
        self.begun_s = time.monotonic()
        if size * self._values <= _BOUND_VALUES:
            return self._run_bound(size, frames, state)
        feed = {"window": _aligned(padded(frames, size))}
        if state is not None:
            feed["state"] = _aligned(padded(state, size))
        return [
            column[: len(frames)].astype(np.float64) for column in self.session.run(self.names, feed, self._options)
        ]

    def _run_bound(self, size: int, frames: Floats, state: Floats | None) -> Outputs:
        """As on a GPU: a quarter less for a small model, whose run is mostly the call."""
        places = self._places.get(size)
        if places is None:
            places = self._places[size] = _Places(self.session, self._manifest, size, None, _array)
        places.write("window", frames)
        if state is not None:
            places.write("state", state)
        self.session.run_with_iobinding(places.binding, self._options)
        return places.read(len(frames))


class BoundSession(_Base):
    """Inputs and outputs bound once for each bucket: for a GPU. Not for two threads.

    A CUDA graph is a recorded run, and reads and writes where it did then. It belongs to the thread that recorded it,
    and while one is recorded most CUDA calls of all other threads fail (`cudaStreamCaptureModeGlobal`): so only the
    thread that serves records, after `record`. `host` gives pinned memory, which the device copies by itself.
    """

    def __init__(self, session: Any, manifest: Manifest, device: str, host: Host, *, graphs: bool) -> None:  # noqa: ANN401 - see above
        super().__init__(session, manifest)
        self._manifest, self._device, self._host, self._graphs = manifest, device, host, graphs
        self._places: dict[int, _Places] = {}
        self._records = False

    def record(self) -> None:
        """As `Session` says. The first run of each size from now on is recorded."""
        self._records = self._graphs
        for places in self._places.values() if self._graphs else ():
            places.record()

    def run(self, size: int, frames: Floats, state: Floats | None) -> Outputs:
        """As `Session` says."""
        self.begun_s = time.monotonic()
        places = self._places.get(size)
        if places is None:
            places = self._places[size] = _Places(self.session, self._manifest, size, self._device, self._host)
            if self._records:
                places.record()
        self._options = places.options
        if self.is_stopped:  # before these options were the present ones
            self._options.terminate = True
        places.write("window", frames)
        if state is not None:
            places.write("state", state)
        self.session.run_with_iobinding(places.binding, places.options)
        return places.read(len(frames))


class _Places:
    """Where the inputs and outputs of one bucket are; device None: in arrays that ONNX Runtime itself reads."""

    def __init__(self, session: Any, manifest: Manifest, size: int, device: str | None, host: Host) -> None:  # noqa: ANN401 - see above
        self._size, self._device, self.options, self.binding = size, device, run_options(), session.io_binding()
        self._inputs: dict[str, tuple[Floats, Any]] = {}
        for name, (_, *shape) in expected_inputs(manifest).items():
            array = host((size, *map(int, shape)))
            self._inputs[name] = (array, _place(array, device))
            self.binding.bind_ortvalue_input(name, self._inputs[name][1])
        self._outputs: list[tuple[Floats, Any]] = []
        for name, (_, *shape) in expected_outputs(manifest).items():
            array = _array((size, *map(int, shape)))
            self._outputs.append((array, _place(array, device)))
            self.binding.bind_ortvalue_output(name, self._outputs[-1][1])

    def record(self) -> None:
        """The next run is recorded, those after it play that back."""
        self.options = run_options(graph=self._size)

    def write(self, name: str, values: Floats) -> None:
        """Copy k rows to the device, and the last one to the rows behind them."""
        host, place = self._inputs[name]
        if len(values) in (1, self._size):  # in one go
            host[...] = values
        else:
            host[: len(values)] = values
            host[len(values) :] = values[-1]
        if self._device is not None:
            place.update_inplace(host)

    def read(self, count: int) -> Outputs:
        """Copies of the outputs of the first windows."""
        is_here = self._device is None
        return [(array if is_here else place.numpy())[:count].astype(np.float64) for array, place in self._outputs]


def run_options(graph: int = -1) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """Of runs whose errors are raised, not logged. graph: the number of their CUDA graph; -1: they use none."""
    options = onnx_runtime().RunOptions()
    options.log_severity_level = 4
    options.add_run_config_entry("gpu_graph_id", str(graph))
    return options


def _place(array: Floats, device: str | None) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """Room for such an array on a device; the array itself when there is none."""
    value = onnx_runtime().OrtValue
    if device is None:
        return value.ortvalue_from_numpy(array)
    return value.ortvalue_from_shape_and_type(list(array.shape), np.float32, device)


def _array(shape: Sequence[int]) -> Floats:
    return _aligned(np.empty(shape, np.float32))


def _aligned(array: Floats) -> Floats:
    """The same values, beginning at an address that `_ALIGNED` divides."""
    if array.__array_interface__["data"][0] % _ALIGNED == 0:
        return array
    room = np.empty(array.nbytes + _ALIGNED, np.uint8)
    begin = -room.__array_interface__["data"][0] % _ALIGNED
    copy: Floats = room[begin : begin + array.nbytes].view(np.float32).reshape(array.shape)
    copy[:] = array
    return copy
