"""A model bundle: one file that holds a graph, what it is, and who vouches for it.

    manifest.json    what the model is (`models/manifest.py`), with the SHA-256 of each part below
    model.onnx       the graph; normalising and calibration are inside, so that no second truth exists
    card.md, ...     further parts for people to read, as many as `models/archive.py` allows
    signature.json   Ed25519, over the bundle's digest (`models/signing.py`)

The digest of a bundle is the SHA-256 of its manifest's bytes, and so covers all parts. Everything a reader
needs to refuse a bundle is checked here, before ONNX Runtime sees a byte: first that it is whole, then who vouches
for it, and only then its graph, as a few megabytes of a stranger's graph may take gigabytes to read.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models import archive
from models.archive import MAX_BUNDLE_BYTES
from models.graph_check import check_graph
from models.manifest import MODEL, BundleError, Channel, Manifest, Output, Threshold

__all__ = [
    "MAX_BUNDLE_BYTES",
    "Bundle",
    "BundleError",
    "Channel",
    "Manifest",
    "Output",
    "Signature",
    "Threshold",
    "pack_bundle",
    "parse_bundle",
    "read_bundle",
    "write_bundle",
]

MAX_MANIFEST_BYTES = 1024 * 1024
_MOST_FAULTS, _FAULT_CHARACTERS = 5, 300  # of a manifest that are told
_MANIFEST, _SIGNATURE = "manifest.json", "signature.json"
_Kind = TypeVar("_Kind", bound=BaseModel)


class Signature(BaseModel):
    """Who vouches for a bundle: `key_id` names the public key, `signature` is Ed25519's 64 bytes in hex."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


@dataclass(frozen=True)
class Bundle:
    """A manifest and the parts that it names, whose digests fit. Make one with `pack_bundle` or `read_bundle`."""

    manifest: Manifest
    text: bytes = field(repr=False)  # the manifest's bytes as they stand in the file
    parts: Mapping[str, bytes] = field(repr=False)  # all but manifest and signature, by name
    signature: Signature | None = None

    @property
    def model(self) -> bytes:
        """The ONNX graph."""
        return self.parts[MODEL]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the manifest, hex: it names the bundle, whoever signed it."""
        return hashlib.sha256(self.text).hexdigest()

    def signed(self, signature: Signature) -> Self:
        """The same bundle with this signature."""
        return replace(self, signature=signature)

    def to_bytes(self) -> bytes:
        """The file. The same bundle gives the same bytes."""
        signature = {} if self.signature is None else {_SIGNATURE: _json(self.signature)}
        return archive.pack({_MANIFEST: self.text} | dict(self.parts) | signature)

    def save(self, path: Path) -> None:
        """Write the file in one step: a reader never sees half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(self.to_bytes())
        partial.replace(path)


Vouch = Callable[[Bundle, str], object]  # takes a bundle and its label; raises BundleError when nobody vouches for it


def pack_bundle(manifest: Manifest, model: bytes, extra: Mapping[str, bytes] = MappingProxyType({})) -> Bundle:
    """A bundle of these parts; the manifest's own `parts` are filled in. Raises BundleError, as reading it would."""
    label = f"{manifest.name} {manifest.version}"
    parts = {MODEL: model} | {name: extra[name] for name in sorted(extra)}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    text = _json(manifest.model_copy(update={"parts": digests}))
    return parse_bundle(Bundle(_parsed(Manifest, text, label), text, parts).to_bytes(), label)


def write_bundle(
    path: Path, manifest: Manifest, model: bytes, extra: Mapping[str, bytes] = MappingProxyType({})
) -> Bundle:
    """Pack a bundle and save it. `extra`: parts such as {"card.md": b"..."}. Raises BundleError."""
    bundle = pack_bundle(manifest, model, extra)
    bundle.save(path)
    return bundle


def read_bundle(path: Path, vouch: Vouch | None = None) -> Bundle:
    """Read and check a bundle file. Raises BundleError, whose text names the file and the fault.

    `vouch`, such as `Trust.check`: is asked before the graph is read; None: whoever made the bundle.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise BundleError(msg) from error
    return parse_bundle(content, str(path), vouch)


def parse_bundle(content: bytes, label: str, vouch: Vouch | None = None) -> Bundle:
    """As `read_bundle`, from bytes; `label` names them in errors."""
    parts = archive.unpack(content, label)
    names = list(parts)
    for name in (_MANIFEST, MODEL):
        if name not in parts:
            msg = f"{label}: no bundle: holds {names}, but no {name}"
            raise BundleError(msg)
    text, signature = parts.pop(_MANIFEST), parts.pop(_SIGNATURE, None)
    if len(text) > MAX_MANIFEST_BYTES:
        msg = f"{label}: {_MANIFEST}: larger than {MAX_MANIFEST_BYTES} bytes"
        raise BundleError(msg)
    manifest = _parsed(Manifest, text, f"{label}: {_MANIFEST}")
    vouched = None if signature is None else _parsed(Signature, signature, f"{label}: {_SIGNATURE}")
    order = [_MANIFEST, *manifest.parts] + ([] if vouched is None else [_SIGNATURE])
    if names != order:
        msg = f"{label}: holds {names}, but {_MANIFEST} names {order}"
        raise BundleError(msg)
    if vouched is not None and signature != _json(vouched):
        msg = f"{label}: {_SIGNATURE} was changed: it is not spelt as `tocsin model sign` does"
        raise BundleError(msg)
    for name, digest in manifest.parts.items():
        if hashlib.sha256(parts[name]).hexdigest() != digest:
            msg = f"{label}: {name} does not have the digest that {_MANIFEST} names: the file was changed or cut"
            raise BundleError(msg)
    bundle = Bundle(manifest, text, MappingProxyType(parts), vouched)
    if vouch is not None:
        vouch(bundle, label)
    check_graph(bundle.model, manifest, label)
    return bundle


def _json(model: BaseModel) -> bytes:
    return (json.dumps(model.model_dump(mode="json"), indent=2) + "\n").encode()


def _parsed(kind: type[_Kind], text: bytes, label: str) -> _Kind:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False, include_input=False)
        ]
        more = f"; and {len(faults) - _MOST_FAULTS} more" * (len(faults) > _MOST_FAULTS)
        msg = f"{label}: {'; '.join(map(_brief, faults[:_MOST_FAULTS]))}{more}"
        raise BundleError(msg) from error


def _brief(fault: str) -> str:
    """What a file says of itself, fit for a terminal and a log."""
    return "".join(c if c.isprintable() else " " for c in fault[:_FAULT_CHARACTERS])
