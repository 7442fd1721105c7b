"""The edge agent's configuration: every fault names the file and the key."""

import os
from pathlib import Path

import pytest

from edge_agent.config import NEEDS_RESTART, Broker, EdgeConfig, Inference, SensorBroker, load
from models.contract.config_errors import ConfigError

EXAMPLE = """
site = "north"
gateway = "gw-1"
state_dir = "state"

[sensor_broker]
host = "10.0.0.5"
port = 8883
tls = true
ca_file = "/etc/ca.pem"
cert_file = "/etc/c.pem"
key_file = "/etc/k.pem"
username = "edge"
password_file = "/run/secrets/p"

[[topics]]
template = "factory/{line}/{asset}/{channel}"

[[channels]]
match = "pump-*/temperature"
unit = "degC"
range = [-40.0, 180.0]
denoise = [{ filter = "hampel", window = 7 }]

[[channels]]
match = "*/vibration"
kind = "waveform"

[[channels]]
match = "*/*"

[[assets]]
match = "pump-*"
period_s = 0.5
models = ["pump.bundle", "/abs/other.bundle"]

[[assets]]
match = "*"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "edge.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_example_loads_and_its_relative_paths_are_those_of_its_folder(tmp_path: Path) -> None:
    config = load(write(tmp_path, EXAMPLE))
    assert config.state_dir == tmp_path / "state"
    assert config.assets[0].models == (tmp_path / "pump.bundle", Path("/abs/other.bundle"))
    assert config.sensor_broker.tls
    assert config.uplink.host == "127.0.0.1"
    assert config.inference.providers == ("auto",)


def test_the_first_fitting_rule_holds(tmp_path: Path) -> None:
    config = load(write(tmp_path, EXAMPLE.replace('match = "*/*"', 'match = "fan/*"')))
    pump, wave, fan = (
        config.channel_rule(*key) for key in (("pump-1", "temperature"), ("pump-1", "vibration"), ("fan", "x"))
    )
    assert pump is not None
    assert pump.range == (-40.0, 180.0)
    assert wave is not None
    assert wave.kind == "waveform"
    assert fan is not None
    assert config.channel_rule("pump-1", "speed") is None
    rule = config.asset_rule("pump-9")
    assert rule is not None
    assert rule.period_s == 0.5


def test_a_configuration_that_loads_comes_back_equal_from_the_json_that_the_journal_keeps(tmp_path: Path) -> None:
    config = load(write(tmp_path, EXAMPLE))
    assert EdgeConfig.model_validate_json(config.model_dump_json()) == config


FAULTS: list[tuple[str, str, str, str]] = [
    # (text of the example, what stands there instead, key, words)
    ('gateway = "gw-1"', 'gateway = "gw-1"\ngatway = "x"', "gatway", "did you mean 'gateway'"),
    ('[{ filter = "hampel", window = 7 }]', '"hampel"', "channels[0].denoise", "a list is needed"),
    ("window = 7", "windw = 7", "channels[0].denoise[0].windw", "did you mean 'window'"),
    ("period_s = 0.5", "period_ms = 500", "assets[0].period_ms", "unknown key"),
    ("window = 7", "hampel = 7", "channels[0].denoise[0].hampel", "unknown key"),
    ('kind = "waveform"', "value = 1", "channels[1].value", "unknown key"),
    ("[[assets]]\n", "[inference]\ncuda = true\n[[assets]]\n", "inference.cuda", "unknown key"),
    ('site = "north"', "", "site", "is missing"),
    ('site = "north"', 'site = "a/b"', "site", "text matching"),
    ('site = "north"', 'site = "+"', "site", "text matching"),
    ("[-40.0, 180.0]", "[180.0, -40.0]", "channels[0]", "the lower limit must lie below"),
    ("[-40.0, 180.0]", "[1.0, 1.0]", "channels[0]", "the lower limit must lie below"),
    ("[-40.0, 180.0]", "[1.0]", "channels[0].range[1]", "is missing"),
    ("[-40.0, 180.0]", "[-40.0, inf]", "channels[0].range[1]", "finite"),
    ("[-40.0, 180.0]", "[nan, 1.0]", "channels[0].range[0]", "finite"),
    ("window = 7", "window = 2", "channels[0].denoise[0].window", "at least 3"),
    ("window = 7", "window = 100", "channels[0].denoise[0].window", "at most 99"),
    ('"hampel"', '"hample"', "channels[0].denoise[0].filter", "'hampel'"),
    ('kind = "waveform"', 'kind = "waveform"\nrange = [0, 1]', "channels[1]", "a waveform takes no range"),
    ('kind = "waveform"', 'kind = "wave"', "channels[1].kind", "allowed: 'value' or 'waveform'"),
    ('match = "*/*"', 'match = "*"', "channels[2].match", "text matching"),
    ("period_s = 0.5", "period_s = 0", "assets[0].period_s", "at least 0.001"),
    ("period_s = 0.5", "period_s = inf", "assets[0].period_s", "finite"),
    ("period_s = 0.5", "hold_s = inf", "assets[0].hold_s", "finite"),
    ("port = 8883", "port = 0", "sensor_broker.port", "at least 1"),
    ("port = 8883", 'port = "x"', "sensor_broker.port", "a whole number is needed"),
    ('key_file = "/etc/k.pem"', "", "sensor_broker", "cert_file and key_file go together"),
    ('cert_file = "/etc/c.pem"', "", "sensor_broker", "cert_file and key_file go together"),
    ("tls = true", "tls = false", "sensor_broker", "set tls = true, or allow_plaintext = true"),
    ("tls = true", "allow_plaintext = true", "sensor_broker", "need tls = true"),
    ("port = 8883", 'port = 8883\ntransport = "udp"', "sensor_broker.transport", "allowed: 'tcp' or 'websockets'"),
    ("port = 8883", 'port = 8883\nwebsocket_path = "mqtt"', "sensor_broker.websocket_path", "text matching"),
    ('username = "edge"', "", "sensor_broker", "password_file needs username"),
    ("{line}/{asset}", "{line}/{machine}", "topics[0]", "{asset} is missing"),
    ("{line}/{asset}", "+/{asset}", "topics[0]", "allowed are a plain name"),
    ("[[assets]]\n", '[inference]\nproviders = ["cpu"]\nrequire = "cuda"\n[[assets]]\n', "inference", "not among"),
    ("[[assets]]\n", '[inference]\nrequire = "tensorrt"\n[[assets]]\n', "inference", "'auto' never tries it"),
    ("[[assets]]\n", '[inference]\nproviders = ["cpu", "cpu"]\n[[assets]]\n', "inference", "name each once"),
    ("[[assets]]\n", '[inference]\nproviders = ["tpu"]\n[[assets]]\n', "inference.providers[0]", "'cuda' or 'cpu'"),
    ("[[assets]]\n", "[inference]\nproviders = []\n[[assets]]\n", "inference.providers", "at least one"),
    ("[[assets]]\n", '[uplink]\nprotocol = "3.1.1"\n[[assets]]\n', "uplink.protocol", "allowed: '5'"),
    ("[[assets]]\n", "[limits]\nfuture_s = inf\n[[assets]]\n", "limits.future_s", "finite"),
    ("[[assets]]\n", "[journal]\nmax_bytes = 10\n[[assets]]\n", "journal.max_bytes", "at least 1048576"),
]


@pytest.mark.parametrize(("old", "new", "key", "words"), FAULTS)
def test_a_fault_is_refused_with_file_key_and_advice(tmp_path: Path, old: str, new: str, key: str, words: str) -> None:
    assert old in EXAMPLE
    path = write(tmp_path, EXAMPLE.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert any(line.startswith(f"{path}: {key}: ") and words in line for line in str(caught.value).splitlines()), str(
        caught.value
    )


def test_a_provider_that_is_not_known_is_one_fault(tmp_path: Path) -> None:
    path = write(tmp_path, EXAMPLE + '\n[inference]\nproviders = ["gpu"]\n')
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == 1


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, EXAMPLE.replace("port = 8883", "port = 0").replace("period_s = 0.5", "period_s = -1"))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("content", [b"site = ", b"\xff\xfe", b"[[["])
def test_what_is_no_toml_is_refused_with_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "edge.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is no TOML") as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        load(tmp_path / "absent.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert not Broker(host=host).tls


def test_the_lean_link_speaks_mqtt_5_over_tcp_and_tls_and_paho_the_rest() -> None:
    assert SensorBroker().is_lean
    assert SensorBroker(tls=True).is_lean
    assert not SensorBroker(protocol="3.1.1").is_lean
    assert not SensorBroker(transport="websockets").is_lean


def test_the_environment_holds_before_the_password_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from-file\n")
    broker = Broker(username="u", password_file=secret)
    monkeypatch.delenv("TOCSIN_X", raising=False)
    found = broker.password("TOCSIN_X")
    assert found is not None
    assert found.get_secret_value() == "from-file"
    monkeypatch.setitem(os.environ, "TOCSIN_X", "from-environment")
    found = broker.password("TOCSIN_X")
    assert found is not None
    assert found.get_secret_value() == "from-environment"
    assert "from-environment" not in repr(found)


def test_without_file_and_environment_there_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOCSIN_X", raising=False)
    assert Broker().password("TOCSIN_X") is None


def test_trusted_keys_are_counted_from_the_files_folder_and_nothing_unsigned_runs_by_default(tmp_path: Path) -> None:
    config = load(write(tmp_path, EXAMPLE + '[inference]\ntrusted_keys = ["keys/a.pub.pem", "/abs/b.pub.pem"]\n'))
    assert config.inference.trusted_keys == (tmp_path / "keys" / "a.pub.pem", Path("/abs/b.pub.pem"))
    assert not config.inference.allow_unsigned


def test_of_inference_only_batches_and_trust_can_change_without_a_restart() -> None:
    fixed = {name.removeprefix("inference.") for name in NEEDS_RESTART if name.startswith("inference.")}
    assert "inference" not in NEEDS_RESTART
    assert set(Inference.model_fields) - fixed == {"max_batch", "max_wait_s", "trusted_keys", "allow_unsigned"}
