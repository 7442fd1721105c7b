"""Ed25519 signatures of bundles, and the key files for them.

The signature is over a fixed text and the bundle's digest, which covers every part. Keys are PEM files: the private
one PKCS #8, readable by its owner only, encrypted where a passphrase is given; the public one SubjectPublicKeyInfo.
A key's id is the first 16 hexadecimal digits of the SHA-256 of its 32 raw public bytes.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from models.bundle import Bundle, Signature
from models.contract.config_errors import ConfigError

_SIGNED = b"tocsin-bundle-v1\n"  # nothing else that the key may ever sign starts so
_MAX_KEY_BYTES = 16 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(ConfigError):
    """A key file cannot be used; the text names it, the fault and the cure."""


def key_id(key: Ed25519PublicKey) -> str:
    """What names the key in signatures and messages."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def sign(bundle: Bundle, key: Ed25519PrivateKey) -> Bundle:
    """The bundle with this key's signature in the place of any that it had. The same key gives the same bytes."""
    signature = key.sign(_SIGNED + bundle.digest.encode()).hex()
    return bundle.signed(Signature(key_id=key_id(key.public_key()), signature=signature))


def is_signed_by(bundle: Bundle, key: Ed25519PublicKey) -> bool:
    """Whether the bundle's signature is this key's, over what the bundle holds now."""
    if bundle.signature is None:
        return False
    try:
        key.verify(bytes.fromhex(bundle.signature.signature), _SIGNED + bundle.digest.encode())
    except InvalidSignature:
        return False
    return True


def write_keys(private: Path, public: Path, passphrase: bytes | None = None) -> str:
    """Make a pair of keys; returns their id. Raises KeyFileError: there is a file already, or no place for one."""
    for path in (private, public):
        if path.exists():
            msg = f"{path}: is there already; move it away, or choose another name"
            raise KeyFileError(msg)
    key = Ed25519PrivateKey.generate()
    lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    _write(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock), 0o600)
    found = key.public_key()
    try:
        _write(public, found.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    except KeyFileError:
        private.unlink()  # half a pair would be in the way of the next try
        raise
    return key_id(found)


def read_private_key(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """The key of a file that only its owner may read. Raises KeyFileError."""
    content = _read(path)
    if b"PUBLIC KEY" in content:
        msg = f"{path}: is a public key, for gateways: name the private one, *.pem beside it"
        raise KeyFileError(msg)
    if path.stat().st_mode & _OTHERS:
        msg = f"{path}: others may read or change this private key: chmod 600 {path}"
        raise KeyFileError(msg)
    if passphrase is None and b"ENCRYPTED PRIVATE KEY" in content:
        msg = f"{path}: is encrypted: set TOCSIN_KEY_PASSPHRASE, or give `tocsin model sign` --passphrase-file"
        raise KeyFileError(msg)
    try:
        # A passphrase that is set for other keys is no fault for a key that needs none.
        key = load_pem_private_key(content, passphrase if b"ENCRYPTED" in content else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = f"{path}: no private key in PEM form, or a wrong passphrase; `tocsin model keygen` makes one"
        raise KeyFileError(msg) from error
    if not isinstance(key, Ed25519PrivateKey):
        msg = f"{path}: holds a key of another kind than Ed25519; `tocsin model keygen` makes one"
        raise KeyFileError(msg)
    return key


def read_public_keys(paths: Iterable[Path]) -> Mapping[str, Ed25519PublicKey]:
    """Public keys by their ids. Raises KeyFileError."""
    keys = map(_read_public_key, paths)
    return {key_id(key): key for key in keys}


def _read_public_key(path: Path) -> Ed25519PublicKey:
    content = _read(path)
    if b"PRIVATE KEY" in content:
        msg = f"{path}: is a private key, which belongs to whoever signs: name the public one, *.pub.pem"
        raise KeyFileError(msg)
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"{path}: no public key in PEM form; `tocsin model keygen` makes one"
        raise KeyFileError(msg) from error
    if not isinstance(key, Ed25519PublicKey):
        msg = f"{path}: holds a key of another kind than Ed25519; `tocsin model keygen` makes one"
        raise KeyFileError(msg)
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_KEY_BYTES + 1)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise KeyFileError(msg) from error
    if len(content) > _MAX_KEY_BYTES:
        msg = f"{path}: too large for a key"
        raise KeyFileError(msg)
    return content


def _write(path: Path, content: bytes, mode: int) -> None:
    """A new file; one that is there may be the only copy of a key in use."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except OSError as error:
        msg = f"{path}: cannot be written: {error.strerror}"
        raise KeyFileError(msg) from error
