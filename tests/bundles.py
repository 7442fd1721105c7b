"""Small bundles and keys for tests."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.bundle import Channel, Manifest, Threshold, read_bundle
from models.graph_check import Shapes, expected_inputs, expected_outputs
from models.onnx_format import Model
from models.signing import read_private_key, sign, write_keys

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def manifest(**changes: Any) -> Manifest:
    """Of a model of one channel, one frame a window."""
    whole: dict[str, Any] = {
        "name": "m",
        "version": "1",
        "kind": "anomaly",
        "channels": (Channel(name="a"),),
        "sample_period_s": 1.0,
        "window": 1,
        "outputs": ("anomaly_score",),
        "threshold": Threshold(output="anomaly_score", open_at=1, close_at=0.5),
        "trained_on": "made here",
    }
    return Manifest.model_validate(whole | changes)


def graph(of: Manifest, **operators: str) -> bytes:
    """A graph with the ends that the manifest has and nodes (name -> domain) that nothing connects: it is never run."""
    model = Model(ir_version=8)
    for domain, version in (("", 17), ("ai.onnx.ml", 3)):
        model.opset_import.add(domain=domain.encode(), version=version)
    for domain, operator in ((domain, operator) for operator, domain in operators.items()):
        model.graph.node.add(op_type=operator.encode(), domain=domain.encode())
    _add_ends(model.graph.input, expected_inputs(of))
    _add_ends(model.graph.output, expected_outputs(of))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def sign_files(folder: Path, *files: Path) -> str:
    """Sign bundles with a new key of `folder`; the line of an edge agent's `[inference]` that trusts it."""
    private, public = folder / "test.pem", folder / "test.pub.pem"
    write_keys(private, public)
    for file in files:
        sign(read_bundle(file), read_private_key(private)).save(file)
    return f'trusted_keys = ["{public}"]'


def _add_ends(ends: Any, shapes: Shapes) -> None:
    for name, shape in shapes.items():
        end = ends.add(name=name.encode())
        end.type.tensor_type.elem_type = 1
        for axis in shape:
            dimension = end.type.tensor_type.shape.dim.add()
            if isinstance(axis, int):
                dimension.dim_value = axis
            else:
                dimension.dim_param = axis.encode()
