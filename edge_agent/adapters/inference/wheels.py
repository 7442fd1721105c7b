"""Which build of ONNX Runtime is installed. Two of them share one folder, and what is left of both does not work."""

from contextlib import suppress
from importlib import import_module, metadata
from typing import Any

from edge_agent.core.errors import StartError

_NAMES = ("onnxruntime", "onnxruntime-gpu")


def check_wheels() -> None:
    """Raises StartError, with the cure, unless exactly one is installed."""
    found = installed()
    if len(found) > 1:
        cure = f"pip uninstall -y {' '.join(_NAMES)}, then install one of tocsin[cpu], tocsin[gpu]"
        msg = f"{' and '.join(found)} are both installed and overwrite each other: {cure}"
        raise StartError(msg)
    if not found:
        msg = "ONNX Runtime is not installed: pip install 'tocsin[cpu]', or 'tocsin[gpu]' with an NVIDIA GPU"
        raise StartError(msg)


def onnx_runtime() -> Any:  # noqa: ANN401 - it has no types
    """The module. Not imported with this one: what is wrong with an installation is to be explained, not raised."""
    return import_module("onnxruntime")


def onnx_runtime_version() -> str:
    """Of the build that is installed, with its kind: 'onnxruntime-gpu 1.31.1'; empty = none is."""
    return next((f"{name} {version}" for name, version in installed().items()), "")


def installed() -> dict[str, str]:
    """The installed builds and their versions."""
    found = {}
    for name in _NAMES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
