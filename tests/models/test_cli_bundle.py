"""`model inspect`, `keygen`, `sign` and `verify`, as a person or a script calls them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.bundle import read_bundle, write_bundle
from models.cli import app
from tests.bundles import graph, manifest

RUNNER = CliRunner(env={"COLUMNS": "200"})
CARD = b"# A pump's model\n\x1b[2J learnt from good days\n"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    of = manifest(trained_on="[red]day\x07 one")
    write_bundle(tmp_path / "m.bundle", of, graph(of, MatMul="", TreeEnsembleRegressor="ai.onnx.ml"), {"card.md": CARD})
    return tmp_path / "m.bundle"


def call(*arguments: str | Path) -> str:
    done = RUNNER.invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def fault(*arguments: str | Path) -> str:
    done = RUNNER.invoke(app, [str(argument) for argument in arguments])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    return done.stderr


def test_keys_are_made_a_bundle_is_signed_and_verified(bundle: Path, tmp_path: Path) -> None:
    made = json.loads(call("keygen", tmp_path / "keys" / "plant", "--json"))
    assert call("verify", bundle, "--trusted", call_sign(bundle, made), "--json")
    found = json.loads(call("verify", bundle, "--trusted", made["public"], "--json"))
    assert found == [{"file": str(bundle), "digest": read_bundle(bundle).digest, "key_id": made["key_id"]}]
    assert made["key_id"] in call("verify", bundle, "--trusted", made["public"])


def call_sign(bundle: Path, made: dict[str, str]) -> str:
    digest = read_bundle(bundle).digest
    assert digest in call("sign", bundle, "--key", made["private"])
    return made["public"]


def test_an_encrypted_key_signs_with_its_passphrase_from_a_file_or_the_environment(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("a passphrase\n")
    key = tmp_path / "k.pem"
    call("keygen", tmp_path / "k", "--passphrase-file", tmp_path / "secret")
    assert "is encrypted: set TOCSIN_KEY_PASSPHRASE" in fault("sign", bundle, "--key", key)
    call("sign", bundle, "--key", key, "--passphrase-file", tmp_path / "secret")
    monkeypatch.setenv("TOCSIN_KEY_PASSPHRASE", "another")
    assert "wrong passphrase" in fault("sign", bundle, "--key", key)
    monkeypatch.setenv("TOCSIN_KEY_PASSPHRASE", "a passphrase")
    call("sign", bundle, "--key", key)
    (tmp_path / "secret").write_text("")
    assert "its first line is empty" in fault("sign", bundle, "--key", key, "--passphrase-file", tmp_path / "secret")


def test_what_cannot_be_verified_is_one_line_and_status_two(bundle: Path, tmp_path: Path) -> None:
    call("keygen", tmp_path / "ours")
    call("keygen", tmp_path / "theirs")
    trusted = ("--trusted", tmp_path / "ours.pub.pem")
    assert f"{bundle}: is not signed" in fault("verify", bundle, *trusted)
    call("sign", bundle, "--key", tmp_path / "theirs.pem")
    assert "a stranger's; trusted are" in fault("verify", bundle, *trusted)
    assert call("verify", bundle, *trusted, "--trusted", tmp_path / "theirs.pub.pem")
    assert "is a private key" in fault("verify", bundle, "--trusted", tmp_path / "ours.pem")
    assert "cannot be read" in fault("verify", tmp_path / "none.bundle", *trusted)
    assert "is there already" in fault("keygen", tmp_path / "ours")
    bundle.write_bytes(bundle.read_bytes()[:-1])
    assert "no bundle" in fault("verify", bundle, *trusted)


def test_each_of_several_bundles_is_verified_whatever_is_wrong_with_another(bundle: Path, tmp_path: Path) -> None:
    sound = tmp_path / "sound.bundle"
    sound.write_bytes(bundle.read_bytes())
    call("keygen", tmp_path / "k")
    call("sign", sound, "--key", tmp_path / "k.pem")
    files = (bundle, sound, tmp_path / "none.bundle")
    done = RUNNER.invoke(app, ["verify", *map(str, files), "--trusted", str(tmp_path / "k.pub.pem"), "--json"])
    assert done.exit_code == 2
    assert [each["file"] for each in json.loads(done.stdout)] == [str(sound)]
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == [
        str(bundle),
        str(tmp_path / "none.bundle"),
    ]


def test_bundles_are_all_signed_or_none_is(bundle: Path, tmp_path: Path) -> None:
    call("keygen", tmp_path / "k")
    (tmp_path / "broken.bundle").write_bytes(b"")
    fault("sign", bundle, tmp_path / "broken.bundle", "--key", tmp_path / "k.pem")
    assert read_bundle(bundle).signature is None


def test_a_bundle_is_inspected_by_a_script(bundle: Path, tmp_path: Path) -> None:
    facts = json.loads(call("inspect", bundle, "--json"))
    assert (facts["digest"], facts["key_id"]) == (read_bundle(bundle).digest, None)
    assert facts["bytes"] == bundle.stat().st_size
    assert facts["part_bytes"] == {name: len(part) for name, part in read_bundle(bundle).parts.items()}
    assert facts["graph"]["operators"] == {"MatMul": 1, "TreeEnsembleRegressor": 1}
    assert facts["graph"]["inputs"] == {"window": ["batch", 1, 1]}
    assert facts["card"] == CARD.decode()
    key = json.loads(call("keygen", tmp_path / "k", "--json"))
    call("sign", bundle, "--key", key["private"])
    assert json.loads(call("inspect", bundle, "--json"))["key_id"] == key["key_id"]


def test_a_bundle_is_inspected_by_a_person_whose_terminal_obeys_none_of_its_texts(bundle: Path) -> None:
    shown = call("inspect", bundle)
    for text in ("[red]day  one", "MatMul 1", "signature      │ none", "# A pump's model", "learnt from good days"):
        assert text in shown
    assert not set(shown) & {"\x1b", "\x07"}


def test_a_bundle_whose_graph_may_not_run_is_not_inspected_as_if_it_could(bundle: Path) -> None:
    bundle.write_bytes(bundle.read_bytes().replace(b"MatMul", b"MatMal"))
    assert "no bundle, or one that was cut or changed: Bad CRC" in fault("inspect", bundle)
