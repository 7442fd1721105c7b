"""Whose bundles are run: those signed by a key that the operator trusts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.bundle import Bundle, BundleError
from models.signing import is_signed_by, read_public_keys


class Trust(NamedTuple):
    """Public keys by id. `allow_unsigned`: bundles that none of them signed are run as well."""

    keys: Mapping[str, Ed25519PublicKey]
    allow_unsigned: bool = False

    @classmethod
    def read(cls, paths: Sequence[Path], *, allow_unsigned: bool = False) -> Self:
        """The keys of these files. Raises KeyFileError."""
        return cls(read_public_keys(paths), allow_unsigned)

    def check(self, bundle: Bundle, label: str) -> str:
        """The id of the trusted key that signed the bundle; empty: none did, which is allowed.

        Raises BundleError, whose text starts with `label`: unsigned, signed by a stranger, changed after signing.
        """
        signature = bundle.signature
        key = None if signature is None else self.keys.get(signature.key_id)
        if signature is not None and key is not None:
            if not is_signed_by(bundle, key):
                msg = f"{label}: was changed after it was signed with key {signature.key_id}: fetch it again"
                raise BundleError(msg)
            return signature.key_id
        if self.allow_unsigned:
            return ""  # a stranger's signature says no more than none
        who = "is not signed" if signature is None else f"is signed with key {signature.key_id}, a stranger's"
        msg = f"{label}: {who}; {self._cure()}"
        raise BundleError(msg)

    def _cure(self) -> str:
        if self.keys:
            return f"trusted are {', '.join(sorted(self.keys))}: `tocsin model sign` it with one of these keys"
        return (
            "no key is trusted here: `tocsin model keygen` makes one, `tocsin model sign` signs with it,"
            " inference.trusted_keys names it; or set inference.allow_unsigned = true"
        )
