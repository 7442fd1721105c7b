"""The demo's models: the zoo's bundles, signed with a key that is made for this demo and trusted by its agent."""

from pathlib import Path

from models.bundle import read_bundle
from models.signing import read_private_key, sign, write_keys
from tocsin.errors import UserError
from tocsin.plant.training import KINDS


def sign_models(zoo: Path, folder: Path) -> None:
    """Write `folder`/keys/demo.pem, demo.pub.pem and `folder`/models/*.bundle; a key that is there is used again.

    Raises UserError when the zoo has no bundles yet, BundleError, KeyFileError.
    """
    missing = [kind for kind in KINDS if not (zoo / f"{kind}.bundle").is_file()]
    if missing:
        msg = f"the demo's models {missing} are missing in {zoo}: build them with 'tocsin model zoo'"
        raise UserError(msg)
    private = folder / "keys" / "demo.pem"
    if not private.exists():
        write_keys(private, private.with_name("demo.pub.pem"))
    key = read_private_key(private)
    for kind in KINDS:
        sign(read_bundle(zoo / f"{kind}.bundle"), key).save(folder / "models" / f"{kind}.bundle")
