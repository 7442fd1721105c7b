"""The decoder of bundles: the file as it comes, or one whose archive is sound around a part that is not."""

from contextlib import suppress

from models import archive
from models.bundle import BundleError, pack_bundle, parse_bundle
from models.graph_check import check_graph
from models.signing import key_id, sign
from models.trust import Trust
from tests.bundles import KEY, graph, manifest

_MANIFEST = manifest()
_SIGNED = sign(pack_bundle(_MANIFEST, graph(_MANIFEST, MatMul="")), KEY)
_TRUST = Trust({key_id(KEY.public_key()): KEY.public_key()})
_FILE = _SIGNED.to_bytes()
_PARTS = archive.unpack(_FILE, "seed")
_NAMES = ("manifest.json", "model.onnx", "signature.json")


def run(data: bytes) -> None:
    """Nothing but BundleError comes out; what is read is written the same; only what was signed is trusted."""
    if not data:
        return
    kind, content = data[0] % (len(_NAMES) + 2), data[1:]
    if kind == len(_NAMES) + 1:
        with suppress(BundleError):
            check_graph(content, _MANIFEST, "m")
        return
    file = content if kind == len(_NAMES) else archive.pack(_PARTS | {_NAMES[kind]: content})
    try:
        bundle = parse_bundle(file, "m")
    except BundleError:
        return
    assert bundle.to_bytes() == file
    with suppress(BundleError):
        _TRUST.check(bundle, "m")
        assert file == _FILE


SEEDS = [
    *(bytes([number]) + _PARTS[name] for number, name in enumerate(_NAMES)),
    b"\3" + _FILE,
    b"\4" + graph(_MANIFEST, MatMul="", TreeEnsembleRegressor="ai.onnx.ml"),
]
