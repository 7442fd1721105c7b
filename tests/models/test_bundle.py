"""Bundles: nothing that was changed, cut or made up gets through."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models import archive
from models.bundle import BundleError, Channel, pack_bundle, parse_bundle, read_bundle, write_bundle
from models.manifest import MAX_STATE
from models.signing import key_id, sign
from models.trust import Trust
from tests.bundles import KEY, STRANGER, graph, manifest

MANIFEST = manifest()
MODEL = graph(MANIFEST)
EXTRA = {"card.md": b"# A card\n", "report.html": b"<p>report</p>"}
BUNDLE = pack_bundle(MANIFEST, MODEL, EXTRA)
CONTENT = BUNDLE.to_bytes()
SIGNED = sign(BUNDLE, KEY).to_bytes()
TRUST = Trust({key_id(KEY.public_key()): KEY.public_key()})


def zipped(parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, content in parts.items():
            made.writestr(zipfile.ZipInfo(name), content, method, compresslevel=1)
    return file.getvalue()


def parts_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        return {name: found.read(name) for name in found.namelist()}


def test_a_bundle_reads_back_as_it_was_written(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "new" / "m.bundle", MANIFEST, MODEL, EXTRA)
    found = read_bundle(tmp_path / "new" / "m.bundle")
    assert (found.manifest, found.model, found.digest) == (written.manifest, MODEL, written.digest)
    assert dict(found.parts) == {"model.onnx": MODEL} | EXTRA
    assert found.manifest == MANIFEST.model_copy(update={"parts": found.manifest.parts})
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m.bundle"]


def test_a_bundle_is_a_zip_archive_that_any_tool_reads() -> None:
    with zipfile.ZipFile(io.BytesIO(SIGNED)) as found:
        assert found.testzip() is None
        assert found.namelist() == ["manifest.json", "model.onnx", *EXTRA, "signature.json"]


def test_the_digest_is_the_manifests_and_covers_every_part_but_not_the_signature() -> None:
    text = parts_of(CONTENT)["manifest.json"]
    assert BUNDLE.digest == hashlib.sha256(text).hexdigest() == parse_bundle(SIGNED, "m").digest
    named = json.loads(text)["parts"]
    assert named == {name: hashlib.sha256(part).hexdigest() for name, part in BUNDLE.parts.items()}
    others = [pack_bundle(MANIFEST, MODEL), pack_bundle(MANIFEST, MODEL, {"card.md": b"another"})]
    assert len({BUNDLE.digest, *(other.digest for other in others)}) == 3


def test_a_bundle_cut_anywhere_is_refused() -> None:
    for length in range(len(CONTENT)):
        with pytest.raises(BundleError):
            parse_bundle(CONTENT[:length], "m")


def test_each_byte_that_is_changed_is_told() -> None:
    for content in (CONTENT, SIGNED):
        for at in range(len(content)):
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            with pytest.raises(BundleError, match=r"^m: "):
                TRUST.check(parse_bundle(bytes(changed), "m"), "m")


@settings(max_examples=300)
@given(st.data())
def test_changed_bytes_never_pass_as_signed(data: st.DataObject) -> None:
    changed = bytearray(SIGNED)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    if bytes(changed) == SIGNED:
        return
    with pytest.raises(BundleError):
        TRUST.check(parse_bundle(bytes(changed), "m"), "m")


@given(st.binary(max_size=400))
def test_any_bytes_raise_only_bundle_error(garbage: bytes) -> None:
    with pytest.raises(BundleError):
        parse_bundle(garbage, "m")


@pytest.mark.parametrize("name", [*EXTRA, "model.onnx"])
def test_a_part_that_was_exchanged_is_named(name: str) -> None:
    forged = archive.pack(parts_of(CONTENT) | {name: b"another"})
    with pytest.raises(BundleError, match=f"m: {name} does not have the digest that manifest.json names"):
        parse_bundle(forged, "m")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"x" + CONTENT, "bytes that belong to no part"),
        (CONTENT + b"x", "no bundle|bytes that belong to no part"),
        (zipped(parts_of(CONTENT)), "bytes that belong to no part"),  # sound, but spelt otherwise
        (zipped(parts_of(CONTENT), zipfile.ZIP_DEFLATED), "compressed"),
        (zipped({}), "holds .*, but no manifest.json"),
        (zipped({"bomb": b"0" * (archive.MAX_BUNDLE_BYTES + 1)}, zipfile.ZIP_DEFLATED), "compressed"),
        (b"\0" * (archive.MAX_BUNDLE_BYTES + 1), "larger than 67108864 bytes"),
        (archive.pack({f"{i}.txt": b"" for i in range(17)}), "holds 17 parts; at most 16"),
        (archive.pack(dict(reversed(parts_of(CONTENT).items()))), "manifest.json names"),
        (archive.pack(parts_of(CONTENT) | {"more.md": b""}), "manifest.json names"),
        (archive.pack({k: v for k, v in parts_of(CONTENT).items() if k != "card.md"}), "manifest.json names"),
        (archive.pack({"manifest.json": b"{}", "model.onnx": MODEL}), "manifest.json: name: Field required"),
        (archive.pack({"manifest.json": b" " * 2**21, "model.onnx": b""}), "manifest.json: larger than 1048576"),
        (archive.pack(parts_of(CONTENT) | {"signature.json": b"{}"}), "signature.json: key_id"),
        (SIGNED.replace(b'{\n  "key_id', b'{\n "key_id '), "m: "),
    ],
)
def test_what_is_no_bundle_is_refused_with_the_reason(content: bytes, fault: str) -> None:
    with pytest.raises(BundleError, match=fault):
        parse_bundle(content, "m")


def test_two_parts_of_one_name_are_refused() -> None:
    file = io.BytesIO(CONTENT)
    with zipfile.ZipFile(file, "a") as found, pytest.warns(UserWarning, match="Duplicate"):
        found.writestr("model.onnx", b"another")
    with pytest.raises(BundleError, match=r"m: holds 'model\.onnx' more than once"):
        parse_bundle(file.getvalue(), "m")


def test_overlapping_parts_that_unpack_to_far_more_than_the_file_holds_are_refused() -> None:
    content = archive.pack({"a.txt": b"0" * (archive.MAX_BUNDLE_BYTES // 8)})
    end = content.index(b"PK\x01\x02")
    entry = content[end : content.index(b"PK\x05\x06")]
    entries = b"".join(entry.replace(b"a.txt", b"%c.txt" % (97 + i)) for i in range(10))
    tail = bytearray(content[content.index(b"PK\x05\x06") :])
    tail[8:10] = tail[10:12] = (10).to_bytes(2, "little")
    tail[12:16] = len(entries).to_bytes(4, "little")
    with pytest.raises(BundleError, match="unpacks to more than 67108864 bytes"):
        parse_bundle(content[:end] + entries + tail, "m")


@pytest.mark.parametrize("name", ["../card.md", "a/card.md", "manifest.json", "signature.json", "Card.md", "x.exe", ""])
def test_a_part_may_not_have_any_name(name: str) -> None:
    with pytest.raises(BundleError, match="parts"):
        pack_bundle(MANIFEST, MODEL, {name: b""})


def test_a_file_that_is_not_there_or_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.bundle: cannot be read: No such file"):
        read_bundle(tmp_path / "none.bundle")
    with pytest.raises(BundleError, match="cannot be read: Is a directory"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"sample_period_s": float("nan")}, "sample_period_s"),
        ({"sample_period_s": float("inf")}, "finite"),
        ({"sample_period_s": 1e-9}, "sample_period_s"),
        ({"sample_period_s": 1e300}, "sample_period_s"),
        ({"stride": 10**30}, "stride"),
        ({"threshold": {"output": "anomaly_score", "open_at": 1, "close_at": 0, "blind_after": 10**30}}, "blind_after"),
        ({"evaluation": {"auc": float("nan")}}, "evaluation.auc"),
        ({"outputs": ("health",)}, "not among the outputs"),
        ({"outputs": ("anomaly_score", "anomaly_score")}, "outputs: a name stands twice"),
        ({"channels": (Channel(name="a"), Channel(name="a"))}, "channels: a name stands twice"),
        ({"window": 2**23}, "more than 4194304 values"),
        ({"state": MAX_STATE + 1}, "state"),
        ({"name": "a/b"}, "name"),
        ({"format": 2}, "format"),
        ({"parts": {"signature.json": "0" * 64}}, "not for other parts"),
    ],
)
def test_a_manifest_that_promises_what_cannot_be_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        manifest(**changes)


def test_nan_in_the_file_of_a_manifest_is_refused() -> None:
    text = parts_of(CONTENT)["manifest.json"].replace(b'"open_at": 1.0', b'"open_at": NaN')
    with pytest.raises(BundleError, match=r"m: manifest\.json: threshold\.open_at: .*finite"):
        parse_bundle(archive.pack(parts_of(CONTENT) | {"manifest.json": text}), "m")


def test_the_graph_of_a_stranger_is_not_even_read() -> None:
    """A few megabytes of a graph may take gigabytes to read."""
    digests = {name: hashlib.sha256(part).hexdigest() for name, part in (EXTRA | {"model.onnx": b"bomb"}).items()}
    text = json.dumps(json.loads(BUNDLE.text) | {"parts": {name: digests[name] for name in ("model.onnx", *EXTRA)}})
    parts = {"manifest.json": text.encode(), "model.onnx": b"bomb"} | EXTRA
    stranger = {"signature.json": parts_of(sign(BUNDLE, STRANGER).to_bytes())["signature.json"]}
    for content in (archive.pack(parts), archive.pack(parts | stranger)):
        with pytest.raises(BundleError, match=r"m: model\.onnx: no ONNX file"):
            parse_bundle(content, "m")
        with pytest.raises(BundleError, match=r"m: is (not signed|signed with key .*, a stranger's); trusted are"):
            parse_bundle(content, "m", TRUST.check)


def test_of_very_many_faults_in_a_manifest_a_few_are_told_and_none_speaks_to_the_terminal() -> None:
    faulty = json.dumps({"\x1b[2J": 0} | {f"{'x' * 1000}{i}": 0 for i in range(500)}).encode()
    with pytest.raises(BundleError, match="and 505 more") as raised:
        parse_bundle(archive.pack({"manifest.json": faulty, "model.onnx": MODEL}), "m")
    assert len(str(raised.value)) < 2000
    only = json.loads(BUNDLE.text) | {"\x1b[2J": 0}
    with pytest.raises(BundleError, match=r"m: manifest\.json:  \[2J: Extra inputs are not permitted"):
        parse_bundle(archive.pack({"manifest.json": json.dumps(only).encode(), "model.onnx": MODEL}), "m")


def test_a_signature_is_replaced_by_the_next_and_the_digest_stays() -> None:
    again = sign(parse_bundle(SIGNED, "m"), STRANGER)
    assert again.digest == BUNDLE.digest
    assert again.signature != parse_bundle(SIGNED, "m").signature
    assert sign(again, KEY).to_bytes() == SIGNED
