"""`model inspect`, `keygen`, `sign` and `verify`: what a bundle holds, and who vouches for it."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from models.bundle import Bundle, BundleError, read_bundle
from models.cli_common import Json, faults, sheet
from models.graph_check import GraphFacts, check_graph
from models.signing import KeyFileError, read_private_key, sign, write_keys
from models.training.figures import counted
from models.trust import Trust

PASSPHRASE = "TOCSIN_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
_CARD = "card.md"

Bundles = Annotated[list[Path], typer.Argument(metavar="BUNDLE...", help="Bundle files.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help=f"A file whose first line encrypts the private key; else {PASSPHRASE}, if that is set."),
]
Trusted = Annotated[list[Path], typer.Option(help="A public key, *.pub.pem; several may be given.")]


def add_commands(app: typer.Typer) -> None:
    """The commands of this file."""
    for command in (inspect, keygen, sign_bundles, verify):
        app.command(command.__name__.removesuffix("_bundles"))(command)


def inspect(
    file: Annotated[Path, typer.Argument(help="A .bundle file.")],
    as_json: Json = False,
) -> None:
    """Show what a bundle holds: its manifest, parts, digest, signature, graph and card. Runs nothing of it."""
    with faults():
        bundle = read_bundle(file)
        graph = check_graph(bundle.model, bundle.manifest, str(file))
    if as_json:
        card = {"card": bundle.parts[_CARD].decode("utf-8", "replace")} if _CARD in bundle.parts else {}
        facts = bundle.manifest.model_dump(mode="json") | {
            "digest": bundle.digest,
            "key_id": bundle.signature and bundle.signature.key_id,
            "bytes": file.stat().st_size,
            "part_bytes": {name: len(content) for name, content in bundle.parts.items()},
            "graph": graph._asdict(),
        }
        sys.stdout.write(json.dumps(facts | card, indent=2) + "\n")
        return
    sheet(f"{bundle.manifest.name} {bundle.manifest.version}", _rows(bundle, graph))
    if _CARD in bundle.parts:
        sys.stdout.write("\n" + _printable(bundle.parts[_CARD]))


def keygen(
    name: Annotated[Path, typer.Argument(help="Such as keys/plant: makes keys/plant.pem and keys/plant.pub.pem.")],
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Make a pair of Ed25519 keys: the private one signs bundles, gateways trust the public one.

    The private key belongs to whoever signs, never on a gateway. Name the public one in `inference.trusted_keys` of
    an edge agent's configuration.
    """
    private, public = (name.with_name(name.name + suffix) for suffix in (".pem", ".pub.pem"))
    with faults():
        key_id = write_keys(private, public, passphrase(passphrase_file))
    if as_json:
        facts = {"key_id": key_id, "private": str(private), "public": str(public)}
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        sys.stdout.write(f"{key_id}: signs with {private}, is trusted by {public}\n")


def sign_bundles(
    bundles: Bundles,
    key: Annotated[Path, typer.Option(help="The private key, as `keygen` makes it.")],
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Sign bundles in place, with one key; a signature that is there is replaced. The digest stays.

    Sign only what you have made or examined: a gateway that trusts the key runs it.
    """
    with faults():
        secret = read_private_key(key, passphrase(passphrase_file))
        signed = [sign(read_bundle(file), secret) for file in bundles]
        for file, bundle in zip(bundles, signed, strict=True):
            bundle.save(file)
    _tell(bundles, signed, "signed", as_json=as_json)


def verify(
    bundles: Bundles,
    trusted: Trusted,
    as_json: Json = False,
) -> None:
    """Check that each bundle is whole and signed by a trusted key, as an edge agent does. Exit status 2: one is not.

    Those that are stand on stdout, what is wrong with each of the others on stderr.
    """
    with faults():
        trust = Trust.read(trusted)
    sound: dict[Path, Bundle] = {}
    faulty: list[str] = []
    for file in bundles:
        try:
            sound[file] = read_bundle(file, trust.check)
        except BundleError as error:
            faulty.append(" ".join(str(error).split()))
    if sound or as_json:
        _tell(list(sound), list(sound.values()), "verified", as_json=as_json)
    if faulty:
        sys.stderr.write("\n".join(faulty) + "\n")
        raise typer.Exit(2)


def passphrase(file: Path | None) -> bytes | None:
    """What encrypts a private key: of the file, else of the environment; or None. Raises KeyFileError, OSError."""
    if file is None:
        return os.environ.get(PASSPHRASE, "").encode() or None
    first = file.read_bytes().partition(b"\n")[0].rstrip(b"\r")
    if not first:
        msg = f"{file}: its first line is empty; the passphrase belongs there"
        raise KeyFileError(msg)
    return first


def _tell(files: Sequence[Path], bundles: Sequence[Bundle], what: str, *, as_json: bool) -> None:
    found = [
        {"file": str(file), "digest": bundle.digest, "key_id": bundle.signature.key_id if bundle.signature else ""}
        for file, bundle in zip(files, bundles, strict=True)
    ]
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for each in found:
        sys.stdout.write(f"{each['file']}: {what}, key {each['key_id']}, digest {each['digest']}\n")


def _rows(bundle: Bundle, graph: GraphFacts) -> dict[str, str]:
    """The sheet of a bundle. What its maker wrote is not trusted to be harmless on a terminal."""
    manifest, limit = bundle.manifest, bundle.manifest.threshold
    side = "above" if limit.above else "below"
    rows = {
        "kind": manifest.kind,
        "channels": ", ".join(f"{each.name} [{each.unit}]" if each.unit else each.name for each in manifest.channels),
        "window": f"{counted(manifest.window, 'frame')} of {manifest.sample_period_s:g} s, "
        f"a new one every {manifest.stride}",
        "missing values": "told to the model" if manifest.missing == "mask" else "no score",
        "state": f"{counted(manifest.state, 'value')} an asset" if manifest.state else "none",
        "outputs": ", ".join(manifest.outputs),
        "alarm": f"opens when {limit.output} is {side} {limit.open_at:.4g} for {counted(limit.open_after, 'window')}, "
        f"closes at {limit.close_at:.4g} after {limit.close_after}",
        "trained on": manifest.trained_on,
        "evaluation": ", ".join(f"{key} {value:.4g}" for key, value in manifest.evaluation.items()),
        "operators": ", ".join(f"{name} {count}" for name, count in graph.operators.items()),
        "opset": ", ".join(f"{domain or 'standard'} {version}" for domain, version in graph.opsets.items())
        + f", IR version {graph.ir_version}",
        "weights": f"{graph.weights:,} numbers, {graph.weight_bytes:,} bytes in memory",
        "parts": ", ".join(f"{name} {len(content):,} bytes" for name, content in bundle.parts.items()),
        "digest": bundle.digest,
        "signature": f"by key {bundle.signature.key_id}, see `verify`" if bundle.signature else "none",
    }
    return {key: escape(_printable(value.encode()).replace("\n", " ")) for key, value in rows.items()}


def _printable(content: bytes) -> str:
    """Text without control characters, but for ends of lines."""
    text = content.decode("utf-8", "replace")
    return "".join(c if c == "\n" or c.isprintable() else " " for c in text)
