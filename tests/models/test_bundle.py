"""Bundles: nothing that was changed, cut or made up gets through."""

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import BundleError, Channel, Manifest, Threshold, parse_bundle, read_bundle, write_bundle

MANIFEST = Manifest(
    name="m",
    version="1",
    kind="anomaly",
    channels=(Channel(name="a"),),
    sample_period_s=1.0,
    window=1,
    stride=1,
    outputs=("anomaly_score",),
    threshold=Threshold(output="anomaly_score", open_at=1, close_at=0.5, severity=0.5),
    trained_on="made here",
    digest="",
)
MODEL = b"the bytes of a graph"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("bundle") / "m.bundle"
    write_bundle(path, MANIFEST, MODEL)
    return path.read_bytes()


def test_a_bundle_reads_back_as_it_was_written(tmp_path: Path) -> None:
    signed = write_bundle(tmp_path / "new" / "m.bundle", MANIFEST, MODEL)
    bundle = read_bundle(tmp_path / "new" / "m.bundle")
    assert bundle.manifest == signed
    assert bundle.model == MODEL
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m.bundle"]


def test_a_graph_that_was_exchanged_is_refused(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        manifest = old.read("manifest.json")
    forged = io.BytesIO()
    with zipfile.ZipFile(forged, "w") as new:
        new.writestr("manifest.json", manifest)
        new.writestr("model.onnx", MODEL + b"!")
    with pytest.raises(BundleError, match=r"m: model\.onnx does not have the digest"):
        parse_bundle(forged.getvalue(), "m")


def test_a_bundle_cut_anywhere_is_refused(content: bytes) -> None:
    for length in range(len(content)):
        with pytest.raises(BundleError):
            parse_bundle(content[:length], "m")


def test_a_missing_file_and_a_missing_member_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(tmp_path / "none.bundle")
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    with pytest.raises(BundleError, match="holds"):
        parse_bundle(empty.getvalue(), "m")


@given(st.binary(max_size=400))
def test_any_bytes_raise_only_bundle_error(garbage: bytes) -> None:
    with pytest.raises(BundleError):
        parse_bundle(garbage, "m")


@settings(max_examples=500)
@given(data=st.data())
def test_changed_bytes_give_the_same_graph_or_a_bundle_error(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        bundle = parse_bundle(bytes(changed), "m")
    except BundleError:
        return
    assert bundle.model == MODEL


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_stored_member_declared_compressed_is_refused(content: bytes, method: int) -> None:
    changed = bytearray(content)
    entry = content.rindex(b"PK\x01\x02")  # the last entry of the directory: model.onnx
    changed[entry + 10] = method
    with pytest.raises(BundleError):
        parse_bundle(bytes(changed), "m")
