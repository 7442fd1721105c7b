"""Faults of a configuration read like advice."""

from pathlib import Path

import pytest

from aggregator.config import BROKER_PASSWORD, INFLUX_TOKEN, Sqlite, load
from models.contract.config_errors import ConfigError

STORE = '[store]\nkind = "sqlite"\npath = "rows.db"\n'


@pytest.fixture(autouse=True)
def _no_secrets_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BROKER_PASSWORD, raising=False)
    monkeypatch.delenv(INFLUX_TOKEN, raising=False)


def faults(folder: Path, text: str) -> list[str]:
    path = folder / "a.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


def test_a_store_is_all_that_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(STORE)
    config = load(path)
    assert config.store == Sqlite(kind="sqlite", path=tmp_path.resolve() / "rows.db")
    assert (config.broker.port, config.broker.share, config.metrics.port) == (1883, "aggregators", 0)


def test_each_fault_has_a_line_with_its_key_and_what_is_allowed(tmp_path: Path) -> None:
    text = STORE + '[broker]\nhots = "b"\nport = 99999\n[log]\nformat = "xml"\n'
    hots, port, form = sorted(faults(tmp_path, text))
    assert hots.startswith("broker.hots: unknown key; did you mean 'host'? (allowed: allow_plaintext, ")
    assert port.startswith("broker.port: ")
    assert port.endswith("(allowed: at most 65535)")
    assert form == "log.format: 'xml' is not possible (allowed: 'json' or 'console')"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "store: is missing"),
        ("[store]\n", "store.kind: is missing"),
        (
            '[store]\nkind = "oracle"\n',
            "store.kind: 'oracle' is not possible (allowed: 'sqlite', 'influx1', 'influx2', 'influx3')",
        ),
        ('[store]\nkind = "sqlite"\n', "store.path: is missing"),
        ('[store]\nkind = "sqlite"\npth = "x"\npath = "y"\n', "store.pth: unknown key; did you mean 'path'?"),
        (STORE + '[broker]\nusername = "u"\n', "broker: username is given without a password"),
        (STORE + '[broker]\ncert_file = "c"\n', "broker: ca_file, cert_file and key_file need tls = true"),
        (STORE + '[broker]\ntls = true\nca_file = "/nowhere"\n', "broker: ca_file: /nowhere does not exist"),
        ("[store\n", "is no TOML"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, text: str, fault: str) -> None:
    [line] = faults(tmp_path, text)
    assert line.startswith(fault)


def test_a_secret_does_not_travel_in_plain_text_unless_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BROKER_PASSWORD, "sesame")
    broker = STORE + '[broker]\nusername = "u"\nhost = "example.org"\n'
    [line] = faults(tmp_path, broker)
    assert "plain text to example.org" in line
    assert "sesame" not in line
    path = tmp_path / "b.toml"
    path.write_text(broker + "allow_plaintext = true\n")
    assert load(path).broker.password() == "sesame"
    monkeypatch.setenv(INFLUX_TOKEN, "sesame")
    [line] = faults(tmp_path, '[store]\nkind = "influx2"\nurl = "http://example.org"\nbucket = "b"\n')
    assert line.startswith("store: a secret would travel")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")
