"""Signatures and keys: who vouches for a bundle is known, or it is refused."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from models.bundle import BundleError, Signature, pack_bundle
from models.contract.config_errors import ConfigError
from models.signing import KeyFileError, key_id, read_private_key, read_public_keys, sign, write_keys
from models.trust import Trust
from tests.bundles import KEY, STRANGER, graph, manifest

BUNDLE = pack_bundle(manifest(), graph(manifest()))
OTHER = pack_bundle(manifest(version="2"), graph(manifest()))
OURS, THEIRS = key_id(KEY.public_key()), key_id(STRANGER.public_key())
TRUST = Trust({OURS: KEY.public_key()})


def test_a_bundle_signed_by_a_trusted_key_is_run_and_the_key_is_told() -> None:
    assert TRUST.check(sign(BUNDLE, KEY), "m") == OURS


def test_the_signature_is_over_the_fixed_text_and_the_digest() -> None:
    signature = sign(BUNDLE, KEY).signature
    assert signature is not None
    KEY.public_key().verify(bytes.fromhex(signature.signature), b"tocsin-bundle-v1\n" + BUNDLE.digest.encode())


def test_an_unsigned_bundle_is_refused_unless_that_is_allowed() -> None:
    with pytest.raises(BundleError, match=f"^m: is not signed; trusted are {OURS}: "):
        TRUST.check(BUNDLE, "m")
    assert TRUST._replace(allow_unsigned=True).check(BUNDLE, "m") == ""


def test_a_strangers_bundle_is_refused_with_its_key_and_the_trusted_ones() -> None:
    with pytest.raises(BundleError, match=f"^m: is signed with key {THEIRS}, a stranger's; trusted are {OURS}: "):
        TRUST.check(sign(BUNDLE, STRANGER), "m")
    assert TRUST._replace(allow_unsigned=True).check(sign(BUNDLE, STRANGER), "m") == ""


def test_without_a_trusted_key_the_cure_is_told() -> None:
    with pytest.raises(BundleError, match=r"no key is trusted here: `tocsin model keygen` .*allow_unsigned = true"):
        Trust({}).check(sign(BUNDLE, KEY), "m")


@pytest.mark.parametrize("allow_unsigned", [False, True])
def test_the_signature_of_another_bundle_is_refused_whatever_is_allowed(allow_unsigned: bool) -> None:
    signature = sign(OTHER, KEY).signature
    assert signature is not None
    with pytest.raises(BundleError, match=f"^m: was changed after it was signed with key {OURS}"):
        TRUST._replace(allow_unsigned=allow_unsigned).check(BUNDLE.signed(signature), "m")


def test_a_strangers_signature_under_a_trusted_name_is_refused() -> None:
    theirs = sign(BUNDLE, STRANGER).signature
    assert theirs is not None
    forged = BUNDLE.signed(Signature(key_id=OURS, signature=theirs.signature))
    with pytest.raises(BundleError, match="was changed after it was signed"):
        TRUST.check(forged, "m")


@pytest.mark.parametrize("passphrase", [None, b"a passphrase"])
def test_keys_that_were_written_sign_and_verify(tmp_path: Path, passphrase: bytes | None) -> None:
    private, public = tmp_path / "keys" / "k.pem", tmp_path / "keys" / "k.pub.pem"
    name = write_keys(private, public, passphrase)
    signed = sign(BUNDLE, read_private_key(private, passphrase))
    assert Trust.read([public]).check(signed, "m") == name
    assert (private.stat().st_mode & 0o777, b"ENCRYPTED" in private.read_bytes()) == (0o600, passphrase is not None)
    assert read_private_key(private, passphrase or b"one for other keys")


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    write_keys(tmp_path / "k.pem", tmp_path / "k.pub.pem")
    before = (tmp_path / "k.pem").read_bytes()
    with pytest.raises(KeyFileError, match=r"k\.pem: is there already"):
        write_keys(tmp_path / "k.pem", tmp_path / "k.pub.pem")
    assert (tmp_path / "k.pem").read_bytes() == before
    (tmp_path / "k.pem").unlink()
    with pytest.raises(KeyFileError, match=r"k\.pub\.pem: is there already"):
        write_keys(tmp_path / "k.pem", tmp_path / "k.pub.pem")
    assert not (tmp_path / "k.pem").exists()


def test_a_private_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    write_keys(tmp_path / "k.pem", tmp_path / "k.pub.pem")
    (tmp_path / "k.pem").chmod(0o640)
    with pytest.raises(KeyFileError, match=r"others may read or change this private key: chmod 600 .*k\.pem"):
        read_private_key(tmp_path / "k.pem")


def test_an_encrypted_key_asks_for_its_passphrase_and_refuses_another(tmp_path: Path) -> None:
    write_keys(tmp_path / "k.pem", tmp_path / "k.pub.pem", b"right")
    with pytest.raises(KeyFileError, match="is encrypted: set TOCSIN_KEY_PASSPHRASE, or give"):
        read_private_key(tmp_path / "k.pem")
    with pytest.raises(KeyFileError, match="a wrong passphrase"):
        read_private_key(tmp_path / "k.pem", b"wrong")


_CURVE = ec.generate_private_key(ec.SECP256R1())
_PEM, _PKCS8, _INFO = Encoding.PEM, PrivateFormat.PKCS8, PublicFormat.SubjectPublicKeyInfo


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "no public key in PEM form"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key in PEM form"),
        (b"x" * 20_000, "too large for a key"),
        (KEY.private_bytes(_PEM, _PKCS8, NoEncryption()), "is a private key, which belongs to whoever signs"),
        (_CURVE.public_key().public_bytes(_PEM, _INFO), "another kind than Ed25519"),
    ],
)
def test_what_is_no_public_key_is_a_fault_of_the_configuration(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "k.pub.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"k\.pub\.pem: .*{fault}"):
        read_public_keys([tmp_path / "k.pub.pem"])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"nothing", "no private key in PEM form"),
        (_CURVE.private_bytes(_PEM, _PKCS8, NoEncryption()), "another kind than Ed25519"),
    ],
)
def test_what_is_no_private_key_is_told(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "k.pem").write_bytes(content)
    (tmp_path / "k.pem").chmod(0o600)
    with pytest.raises(KeyFileError, match=fault):
        read_private_key(tmp_path / "k.pem")


def test_a_public_key_in_the_place_of_the_private_one_is_called_so(tmp_path: Path) -> None:
    write_keys(tmp_path / "k.pem", tmp_path / "k.pub.pem")
    with pytest.raises(KeyFileError, match=r"k\.pub\.pem: is a public key, for gateways: name the private one"):
        read_private_key(tmp_path / "k.pub.pem")


def test_a_key_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"no\.pem: cannot be read: No such file"):
        read_public_keys([tmp_path / "no.pem"])
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match="cannot be written"):
        write_keys(tmp_path / "file" / "k.pem", tmp_path / "k.pub.pem")


def test_no_private_key_is_left_where_the_public_one_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match=r"file/k\.pub\.pem: cannot be written"):
        write_keys(tmp_path / "k.pem", tmp_path / "file" / "k.pub.pem")
    assert not (tmp_path / "k.pem").exists()


def test_signatures_are_those_of_rfc_8032() -> None:
    """The signer is Ed25519 as published: RFC 8032, section 7.1, test 1."""
    secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    assert key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex() == public
    assert key.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
