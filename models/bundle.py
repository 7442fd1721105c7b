"""A model bundle: one file that holds `model.onnx` and `manifest.json`.

A bundle is a zip archive (stored, fixed time stamps: the same model gives the same bytes). The manifest
says what goes in, what comes out, where the alarm limits lie and what the model was made from; it carries
the SHA-256 of `model.onnx`. Normalisation is inside the ONNX graph, so that no second truth exists.

Everything a reader needs to refuse a bundle is checked here, before ONNX Runtime sees a byte.
"""

import hashlib
import io
import json
import math
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_BUNDLE_BYTES = 64 * 1024 * 1024
_MODEL, _MANIFEST = "model.onnx", "manifest.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip archive can hold

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Output = Literal["anomaly_score", "failure_prob", "health", "rul_h", "contribution"]


class BundleError(ValueError):
    """The file is no bundle that can be trusted to run; the text says what is wrong. Do not try again."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Channel(_Strict):
    """One input channel; the order of channels is the order of the model's last axis."""

    name: str
    unit: str = ""


class Threshold(_Strict):
    """When the alarm opens and closes on one output. `above`: high values are bad; else low values are."""

    output: Literal["anomaly_score", "failure_prob", "health", "rul_h"]
    open_at: float
    close_at: float
    above: bool = True
    open_after: int = Field(1, ge=1, description="consecutive windows beyond open_at before the alarm opens")
    close_after: int = Field(1, ge=1, description="consecutive windows back at close_at before it closes")
    severity: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _hysteresis(self) -> "Threshold":
        if (self.close_at > self.open_at) if self.above else (self.close_at < self.open_at):
            side = "below" if self.above else "above"
            msg = f"close_at {self.close_at} must lie {side} open_at {self.open_at}, or be equal"
            raise ValueError(msg)
        return self


class Manifest(_Strict):
    """What a model is. The graph takes `window`: float32 [batch, window, width], oldest frame first.

    `width` is the number of channels. With a mask it is twice that: the values, 0 where one is missing; then for
    each channel 1 where its value is present, else 0.
    """

    name: Name
    version: Name
    kind: Literal["anomaly", "failure", "quality"]
    channels: tuple[Channel, ...] = Field(min_length=1)
    sample_period_s: float = Field(gt=0, description="the grid the channels are aligned to")
    window: int = Field(ge=1, description="frames per window")
    stride: int = Field(1, ge=1, description="frames from one window to the next")
    missing: Literal["abstain", "mask"] = Field(
        "abstain", description="a window with a missing value is not scored; or the graph is told by a mask"
    )
    outputs: tuple[Output, ...] = Field(
        min_length=1, description="graph outputs, float32 [batch, 1]; contribution is [batch, channels]"
    )
    threshold: Threshold
    trained_on: str
    evaluation: dict[str, float] = {}
    digest: str = Field("", description="SHA-256 of model.onnx, hex")

    @property
    def width(self) -> int:
        """Columns of the graph's input."""
        return len(self.channels) * (2 if self.missing == "mask" else 1)

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        names = [channel.name for channel in self.channels]
        if len(set(names)) < len(names):
            msg = f"channels: a name stands twice in {names}"
            raise ValueError(msg)
        if self.threshold.output not in self.outputs:
            msg = f"threshold.output {self.threshold.output!r} is not among the outputs {list(self.outputs)}"
            raise ValueError(msg)
        bad = [name for name, value in self.evaluation.items() if not math.isfinite(value)]
        if bad:
            msg = f"evaluation: {bad} are no finite numbers"
            raise ValueError(msg)
        return self


class Bundle(_Strict):
    """A manifest and its graph, whose digest fits."""

    manifest: Manifest
    model: bytes = Field(repr=False)


def write_bundle(path: Path, manifest: Manifest, model: bytes) -> Manifest:
    """Write the bundle in one step (a reader never sees half of it); returns the manifest with its digest."""
    signed = manifest.model_copy(update={"digest": hashlib.sha256(model).hexdigest()})
    text = json.dumps(signed.model_dump(mode="json"), indent=2) + "\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
        for name, content in ((_MANIFEST, text.encode()), (_MODEL, model)):
            bundle.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(archive.getvalue())
    partial.replace(path)
    return signed


def read_bundle(path: Path) -> Bundle:
    """Read and check a bundle file. Raises BundleError, whose text names the file and the fault."""
    try:
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            msg = f"{path}: larger than {MAX_BUNDLE_BYTES} bytes"
            raise BundleError(msg)
        content = path.read_bytes()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise BundleError(msg) from error
    return parse_bundle(content, str(path))


def parse_bundle(content: bytes, label: str) -> Bundle:
    """As `read_bundle`, from bytes; `label` names them in errors."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = sorted(archive.namelist())
            if names != sorted((_MODEL, _MANIFEST)):
                msg = f"{label}: holds {names}, not {_MANIFEST} and {_MODEL}"
                raise BundleError(msg)
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                msg = f"{label}: holds compressed parts; a bundle's are stored as they are"
                raise BundleError(msg)
            if sum(info.file_size for info in archive.infolist()) > MAX_BUNDLE_BYTES:
                msg = f"{label}: unpacks to more than {MAX_BUNDLE_BYTES} bytes"
                raise BundleError(msg)
            text, model = archive.read(_MANIFEST), archive.read(_MODEL)
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        msg = f"{label}: no bundle: {error}"
        raise BundleError(msg) from error
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        msg = f"{label}: {_MANIFEST}: {faults}"
        raise BundleError(msg) from error
    if hashlib.sha256(model).hexdigest() != manifest.digest:
        msg = f"{label}: {_MODEL} does not have the digest that {_MANIFEST} names: the file was changed or cut"
        raise BundleError(msg)
    return Bundle(manifest=manifest, model=model)
