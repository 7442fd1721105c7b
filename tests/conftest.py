"""Servers that many tests share: started once a session, and only when a test asks for them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Before numpy and scikit-learn come: several threads in each of several workers only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# `tests.servers` is importable from wherever pytest is started.
sys.path.insert(0, str(Path(__file__).parents[1]))

from edge_agent.adapters.inference.cuda_driver import look
from tests.servers import Influx1, Mosquitto, find_binary

# How long an example takes says more of the machine than of the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_SERVERS = ("mosquitto", "influx1")
# Files that take long, the longest first, for one begun last would run on alone; those that wait for processes stand
# among those that compute, so that neither the cores nor the workers have nothing to do.
_LONG = (
    "chaos/test_chaos.py",
    "tocsin/test_demo.py",
    "models/test_cmapss.py",
    "integration/test_main_job.py",
    "ports/test_link.py",
    "models/test_anomaly_recipes.py",
    "ports/test_uplink_aggregators.py",
    "edge/test_denoise_suite.py",
    "integration/test_real_data.py",
    "models/test_nab.py",
    "integration/test_sparkplug.py",
    "models/test_streaming.py",
    "integration/test_fleet.py",
    "models/test_autoencoder.py",
    "ports/test_uplink_brokers.py",
    "edge/test_denoise_oracles.py",
    "integration/test_stop_models.py",
    "tocsin/test_replay_live.py",
    "ports/test_journal_damage.py",
    "edge/test_signal_path.py",
    "integration/test_influx_and_broker_with_aggregator.py",
    "tocsin/test_replay_plot.py",
    "integration/test_three_aggregators.py",
    "tocsin/test_edge_replay.py",
    "integration/test_signed_models.py",
    "ports/test_store_faults.py",
    "integration/test_doctor.py",
    "ports/test_sqlite.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--deep` also runs the tests that need PyTorch, as `./run test --deep` does."""
    parser.addoption("--deep", action="store_true", help="run the tests that need PyTorch (extra train-deep) too")


def pytest_configure(config: pytest.Config) -> None:
    """Of several workers, each takes the next file in the order given here, not the one with the most tests."""
    config.option.loadscopereorder = False


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says what is left out: the header, where it would stand, is not shown with -q."""
    if not config.getoption("--deep"):
        terminalreporter.write_line("The tests that need PyTorch were left out; with --deep they run too.")
    if fault := look().fault:
        terminalreporter.write_line(f"The tests that need a CUDA device were left out: {fault}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files come first. A test that uses a real server is an integration test, without having to say so."""
    left_out = [] if config.getoption("--deep") else ["deep"]
    left_out += ["gpu"] if look().fault else []
    for marker in left_out:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(marker)])
        items[:] = [item for item in items if not item.get_closest_marker(marker)]
    rank = {Path(__file__).parent / name: number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    for item in items:
        if any(name in getattr(item, "fixturenames", ()) for name in _SERVERS):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(autouse=True)
def _fresh_logs() -> Iterator[None]:
    """A command run inside a test points the logs at that test's stderr, which is closed afterwards."""
    yield
    structlog.reset_defaults()


def _require(binary: str, package: str) -> None:
    if find_binary(binary):
        return
    reason = f"{binary} is not installed: apt-get install {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A running MQTT broker. A test that stops it must start it again."""
    _require("mosquitto", "mosquitto")
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as server:
        yield server


@pytest.fixture
def broker(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Mosquitto]:
    """A broker of the test's own: sessions and states that other tests left would mix in."""
    del mosquitto  # only makes sure that one is installed
    with Mosquitto(tmp_path / "broker") as server:
        yield server


@pytest.fixture(scope="session")
def influx1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx1]:
    """A running InfluxDB 1.x. Tests keep apart by using a database each."""
    _require("influxd", "influxdb")
    with Influx1(tmp_path_factory.mktemp("influx1")) as server:
        yield server
