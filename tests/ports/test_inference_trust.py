"""Whose models the agent runs: a bundle is checked when it is adopted, and again whenever it is loaded from disk."""

import hashlib
import shutil
from pathlib import Path

import pytest

from edge_agent.adapters.inference import ModelShelf
from edge_agent.config import Inference
from models import archive
from models.bundle import BundleError, read_bundle
from models.contract.config_errors import ConfigError
from models.signing import read_private_key, sign, write_keys
from tests import small_models
from tests.bundles import KEY, STRANGER


def settings(folder: Path, *names: str) -> Inference:
    """That trusts these keys, which are made where they are not there."""
    for name in names:
        if not (folder / f"{name}.pem").exists():
            write_keys(folder / f"{name}.pem", folder / f"{name}.pub.pem")
    return Inference(providers=("cpu",), trusted_keys=tuple(folder / f"{name}.pub.pem" for name in names))


def signed_by(folder: Path, name: str) -> Path:
    path = folder / "m.bundle"
    sign(small_models.dense(hidden=(4,)), read_private_key(folder / f"{name}.pem")).save(path)
    return path


def test_a_bundle_of_a_trusted_key_is_adopted_and_one_of_a_stranger_or_of_nobody_is_not(tmp_path: Path) -> None:
    shelf = ModelShelf(tmp_path / "shelf", settings(tmp_path, "plant"))
    assert shelf.adopt(signed_by(tmp_path, "plant")).digest == small_models.dense(hidden=(4,)).digest
    stranger, unsigned = tmp_path / "stranger.bundle", tmp_path / "unsigned.bundle"
    sign(small_models.dense(hidden=(5,)), STRANGER).save(stranger)
    small_models.dense(hidden=(5,)).save(unsigned)
    with pytest.raises(BundleError, match=r"stranger\.bundle: is signed with key [0-9a-f]{16}, a stranger's; trusted"):
        shelf.adopt(stranger)
    with pytest.raises(BundleError, match=r"unsigned\.bundle: is not signed; trusted are"):
        shelf.adopt(unsigned)
    assert len(list((tmp_path / "shelf").iterdir())) == len(shelf.models) == 1


def test_a_kept_bundle_that_was_changed_is_not_loaded_and_is_kept_anew(tmp_path: Path) -> None:
    trusting = settings(tmp_path, "plant")
    path = signed_by(tmp_path, "plant")
    digest = ModelShelf(tmp_path / "shelf", trusting).adopt(path).digest
    kept = tmp_path / "shelf" / f"{digest}.bundle"
    whole = kept.read_bytes()
    other = sign(small_models.dense(hidden=(5,)), read_private_key(tmp_path / "plant.pem")).to_bytes()
    forged = sign(read_bundle(path), STRANGER).to_bytes()
    unread = archive.pack({"manifest.json": _manifest_of(b"bomb"), "model.onnx": b"bomb"})
    for content, fault in (
        (whole[:100], "was cut or changed"),
        (whole.replace(b"dense", b"dance"), "no bundle|does not have the digest"),
        (forged, "a stranger's"),
        (other, "is another bundle, .*: it was exchanged"),
        (unread, "is another bundle"),  # whose graph is not even looked at
        (b"", "no bundle"),
    ):
        kept.write_bytes(content)
        shelf = ModelShelf(tmp_path / "shelf", trusting)
        with pytest.raises(BundleError, match=fault):
            shelf.find(digest)
        assert shelf.adopt(path).digest == digest
        assert kept.read_bytes() == whole


def _manifest_of(model: bytes) -> bytes:
    parts = {"model.onnx": hashlib.sha256(model).hexdigest()}
    return small_models.manifest("m", 4, 2, parts=parts).model_dump_json().encode()


def test_a_bundle_that_is_signed_anew_stays_the_same_model(tmp_path: Path) -> None:
    both = settings(tmp_path, "old", "new")
    digest = ModelShelf(tmp_path / "shelf", both).adopt(signed_by(tmp_path, "old")).digest
    only_new = ModelShelf(tmp_path / "shelf", settings(tmp_path, "new"))
    with pytest.raises(BundleError, match="a stranger's"):
        only_new.find(digest)
    assert only_new.adopt(signed_by(tmp_path, "new")).digest == digest
    assert ModelShelf(tmp_path / "shelf", settings(tmp_path, "new")).find(digest).digest == digest


def test_running_models_of_anybody_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shelf = ModelShelf(tmp_path / "shelf", Inference(providers=("cpu",), allow_unsigned=True))
    for hidden in (4, 5):
        small_models.dense(hidden=(hidden,)).save(tmp_path / "m.bundle")
        shelf.adopt(tmp_path / "m.bundle")
    sign(small_models.dense(hidden=(6,)), KEY).save(tmp_path / "m.bundle")
    shelf.adopt(tmp_path / "m.bundle")
    assert capsys.readouterr().out.count("inference.allow_unsigned is set") == 1


def test_a_key_that_cannot_be_read_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    trusting = settings(tmp_path, "plant")
    shutil.copy(tmp_path / "plant.pem", tmp_path / "plant.pub.pem")
    with pytest.raises(ConfigError, match=r"plant\.pub\.pem: is a private key"):
        ModelShelf(tmp_path / "shelf", trusting)
