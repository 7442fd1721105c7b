"""Which models the agent has in memory, and what it says of one that is no more to be run."""

import shutil
import threading
from pathlib import Path

import pytest

from edge_agent.adapters.inference import ModelShelf
from edge_agent.config import EdgeConfig, Inference
from edge_agent.core.errors import ModelFailedError
from edge_agent.metrics import Metrics
from edge_agent.models import AgentModels
from models.bundle import read_bundle
from models.contract.config_errors import ConfigError
from tests.edge.test_pipeline import CONFIG
from tests.swaps import PERIOD_MS, write_version

pytest.importorskip("onnxruntime")
UNSIGNED = Inference(providers=("cpu",), allow_unsigned=True)
SOURCE = Path("edge.toml")


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.bundle" for number in (1, 2, 3)]
    for number, path in enumerate(paths, 1):
        write_version(path, str(number))
    return paths


def of(*paths: Path, period_s: float = PERIOD_MS / 1000) -> EdgeConfig:
    rule = {"match": "*", "period_s": period_s, "models": paths}
    return EdgeConfig.model_validate(CONFIG.model_dump() | {"assets": [rule]})


def in_memory(metrics: Metrics) -> set[str]:
    (family,) = metrics.model_memory.collect()
    return {sample.labels["version"] for sample in family.samples}


def test_a_swap_keeps_the_old_model_until_the_new_one_serves_and_a_refused_one_goes_at_once(
    tmp_path: Path, bundles: list[Path]
) -> None:
    metrics = Metrics()
    models = AgentModels(tmp_path / "models", UNSIGNED, metrics)
    digests = [read_bundle(path).digest for path in bundles]
    assert not models.running
    assert models.is_first is None
    models.load(of(bundles[0]), SOURCE)
    models.adopt()
    models.serve(digests[:1])
    models.load(of(bundles[1]), SOURCE)
    assert [model.version for model in models.running] == ["1"]
    models.serve(digests[:1])  # the pipeline is still behind; what was loaded stays
    models.adopt()
    assert [model.version for model in models.running] == ["2"]
    assert in_memory(metrics) == {"1", "2"}
    models.load(of(bundles[2]), SOURCE)
    models.refuse()
    assert in_memory(metrics) == {"1", "2"}
    assert [model.version for model in models.running] == ["2"]
    models.serve(digests[1:2])
    assert in_memory(metrics) == {"2"}
    assert models.is_first


def test_models_that_do_not_fit_their_assets_are_refused_and_the_others_run_on(
    tmp_path: Path, bundles: list[Path]
) -> None:
    metrics = Metrics()
    models = AgentModels(tmp_path / "models", UNSIGNED, metrics)
    models.load(of(bundles[0]), SOURCE)
    models.adopt()
    with pytest.raises(ConfigError, match=r"edge\.toml: assets.*2\.bundle was trained on a grid of 0\.1 s"):
        models.load(of(bundles[1], period_s=1.0), SOURCE)
    models.refuse()
    assert in_memory(metrics) == {"1"}
    assert [model.version for model in models.running] == ["1"]


def test_a_model_that_may_not_be_run_any_more_is_there_and_scores_nothing(tmp_path: Path, bundles: list[Path]) -> None:
    folder = tmp_path / "models"
    digest = ModelShelf(folder, UNSIGNED).adopt(bundles[0]).digest
    models = AgentModels(folder, Inference(providers=("cpu",)), Metrics())
    found = models.find(digest)
    assert found is not None
    assert found.manifest == read_bundle(bundles[0]).manifest
    with pytest.raises(ModelFailedError, match="is not signed"):
        found.score(None)  # type: ignore[arg-type]
    shutil.rmtree(folder)
    assert models.find(digest) is None


def test_a_model_that_is_let_go_while_it_is_looked_for_is_found_all_the_same(
    tmp_path: Path, bundles: list[Path]
) -> None:
    shelf = ModelShelf(tmp_path / "models", UNSIGNED)
    digest = shelf.adopt(bundles[0]).digest
    done = threading.Event()

    def let_go() -> None:
        while not done.is_set():
            shelf.keep_only(())

    other = threading.Thread(target=let_go)
    other.start()
    try:
        assert {shelf.find(digest).digest for _ in range(30)} == {digest}
    finally:
        done.set()
        other.join()
