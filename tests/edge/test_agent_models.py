"""Which models the agent has in memory, and what it says of one that is no more to be run."""

import errno
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge_agent.adapters.inference import ModelShelf, OnnxModel
from edge_agent.adapters.inference.kept import KeptBundles
from edge_agent.adapters.inference.runtime import OnnxRuntime
from edge_agent.config import EdgeConfig, Inference
from edge_agent.core.entries import decode_entry, encode_entry
from edge_agent.core.errors import ModelFailedError, StartError
from edge_agent.core.model import Unfit
from edge_agent.metrics import Metrics
from edge_agent.models import AgentModels
from models.bundle import BundleError, read_bundle
from models.contract.config_errors import ConfigError
from models.contract.state import RunningModel, State, decode_state, encode_state
from models.signing import read_private_key, sign
from tests import small_models
from tests.bundles import STRANGER
from tests.edge.test_pipeline import CONFIG
from tests.ports.test_inference_trust import settings as trusting
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


def of(*paths: Path, period_s: float = PERIOD_MS / 1000, inference: Inference = UNSIGNED) -> EdgeConfig:
    rule = {"match": "*", "period_s": period_s, "models": paths}
    return EdgeConfig.model_validate(CONFIG.model_dump() | {"assets": [rule], "inference": inference.model_dump()})


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
    models.adopt(1, 0)
    models.serve(digests[:1])
    models.load(of(bundles[1]), SOURCE)
    assert [model.version for model in models.running] == ["1"]
    models.serve(digests[:1])  # the pipeline is still behind; what was loaded stays
    models.adopt(1, 0)
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
    models.adopt(1, 0)
    with pytest.raises(ConfigError, match=r"edge\.toml: assets.*2\.bundle was trained on a grid of 0\.1 s"):
        models.load(of(bundles[1], period_s=1.0), SOURCE)
    models.refuse()
    assert in_memory(metrics) == {"1"}
    assert [model.version for model in models.running] == ["1"]


class Start:
    """An agent that starts: what became of its models, once the journal names them."""

    def __init__(self, folder: Path, config: EdgeConfig, now_ns: int = 1) -> None:
        self.models = AgentModels(folder / "models", config.inference, Metrics())
        self.loading = self.models.load(config, SOURCE, is_start=True)
        self.models.adopt(now_ns, 0)

    @property
    def versions(self) -> list[str]:
        return sorted(model.version for model in self.models.running)


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def tamper(path: Path) -> None:
    content = path.read_bytes()
    at = content.index(b"nothing")
    path.write_bytes(content[:at] + b"N" + content[at + 1 :])


def unsign(path: Path) -> None:
    replace(read_bundle(path), signature=None).save(path)


def of_a_stranger(path: Path) -> None:
    sign(read_bundle(path), STRANGER).save(path)


def of_another_grid(path: Path) -> None:
    sign(small_models.mean(4, 2), read_private_key(path.parent / "plant.pem")).save(path)


BAD: dict[Callable[[Path], None], str] = {
    remove: "cannot be read: No such file",
    truncate: "was cut or changed",
    tamper: "does not have|was changed|cut or changed",
    unsign: "is not signed; trusted are",
    of_a_stranger: "a stranger's; trusted are",
    of_another_grid: r"was trained on a grid of 1 s; period_s is 0\.1",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_a_file_that_cannot_be_used_at_a_start_leaves_its_model_out_and_the_others_serve(
    tmp_path: Path, bundles: list[Path], spoil: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    signed = trusting(tmp_path, "plant")
    write_version(bundles[1], "2", name="other")
    for path in bundles[:2]:
        sign(read_bundle(path), read_private_key(tmp_path / "plant.pem")).save(path)
    spoil(bundles[0])
    config = of(*bundles[:2], inference=signed)
    start = Start(tmp_path, config)
    assert start.versions == ["2"]
    ((path, refused),) = start.loading.refused.items()
    assert (path, refused.model) == (bundles[0], "1")
    assert re.search(rf"edge\.toml: assets\[0\]\.models: .*1\.bundle.*({BAD[spoil]}).*passes, reload", refused.reason)
    entry = start.loading.entry(config, 7)
    assert set(entry.digests) == {str(bundles[1])}
    assert decode_entry(encode_entry(entry)) == entry
    assert [(one.name, one.serves) for one in start.models.refused] == [("1", "")]
    said = capsys.readouterr().out
    assert "[error    ] a model's file cannot be used: it scores nothing" in said
    assert str(bundles[0]) in said


def test_the_bundle_that_served_before_serves_for_a_file_that_cannot_be_used(
    tmp_path: Path, bundles: list[Path]
) -> None:
    path = bundles[0]
    before = read_bundle(path).digest
    assert Start(tmp_path, of(path)).versions == ["1"]
    truncate(path)
    second = Start(tmp_path, of(path))
    assert second.versions == ["1"]
    assert second.loading.entry(of(path), 1).digests == {str(path): before}
    assert [(one.name, one.serves) for one in second.models.refused] == [("largest", before)]
    assert Start(tmp_path, of(path)).versions == ["1"]  # and so it stays
    write_version(path, "4")
    mended = second.models.load(of(path), SOURCE)
    second.models.adopt(2, 0)
    assert (second.versions, mended.refused) == (["4"], {})


def test_a_key_that_is_taken_back_takes_out_what_it_signed_kept_copies_too(tmp_path: Path, bundles: list[Path]) -> None:
    both, rest = trusting(tmp_path, "leaked", "plant"), trusting(tmp_path, "plant")
    write_version(bundles[1], "2", name="other")
    for path, key in zip(bundles, ("leaked", "plant"), strict=False):
        sign(read_bundle(path), read_private_key(tmp_path / f"{key}.pem")).save(path)
    running = Start(tmp_path, of(*bundles[:2], inference=both))
    assert running.versions == ["1", "2"]
    running.models.load(of(*bundles[:2], inference=rest), SOURCE)  # SIGHUP
    running.models.adopt(2, 0)
    assert running.versions == ["2"]
    assert [(one.name, one.serves) for one in running.models.refused] == [("largest", "")]
    kept = read_bundle(bundles[0]).digest
    found = running.models.find(kept)
    assert isinstance(found, OnnxModel)  # as long as the pipeline has not come to the reload
    running.models.serve([model.digest for model in running.models.running])
    found = running.models.find(kept)
    assert isinstance(found, Unfit)
    again = Start(tmp_path, of(*bundles[:2], inference=rest))
    assert again.versions == ["2"]
    sign(read_bundle(bundles[0]), read_private_key(tmp_path / "plant.pem")).save(bundles[0])
    assert Start(tmp_path, of(*bundles[:2], inference=rest)).versions == ["1", "2"]


def test_a_reload_takes_no_model_out_of_service_and_one_that_is_out_holds_up_no_reload(
    tmp_path: Path, bundles: list[Path]
) -> None:
    write_version(bundles[1], "2", name="other")
    truncate(bundles[0])
    start = Start(tmp_path, of(*bundles[:2]))
    assert start.versions == ["2"]
    again = start.models.load(of(*bundles[:2], period_s=PERIOD_MS / 1000), SOURCE)
    start.models.adopt(2, 0)
    assert (start.versions, set(again.refused)) == (["2"], {bundles[0]})
    truncate(bundles[1])
    with pytest.raises(
        BundleError, match=r"edge\.toml: assets\[0\]\.models: .*2\.bundle: no bundle, or one that was cut"
    ):
        start.models.load(of(*bundles[:2]), SOURCE)
    start.models.refuse()
    assert start.versions == ["2"]


def test_a_reload_takes_no_bundle_of_before_out_of_service_either(tmp_path: Path, bundles: list[Path]) -> None:
    Start(tmp_path, of(bundles[0]))
    truncate(bundles[0])
    start = Start(tmp_path, of(bundles[0]))
    assert start.versions == ["1"]
    for config in (of(bundles[0], period_s=1.0), of(*bundles[:2])):  # it fits no more; another one has its name
        with pytest.raises(BundleError, match=r"1\.bundle: no bundle, or one that was cut"):
            start.models.load(config, SOURCE)
        start.models.refuse()
    start.models.load(of(bundles[0]), SOURCE)
    start.models.adopt(2, 0)
    assert start.versions == ["1"]


def test_the_state_holds_200_models_whose_files_are_gone_and_the_bundles_that_serve_for_them(tmp_path: Path) -> None:
    missing = Start(tmp_path, of(*(tmp_path / f"pump-anomaly-{number}.bundle" for number in range(200)))).models.refused
    digest = "a" * 64
    state = State(
        models=tuple(RunningModel(name=one.name, version="3", digest=digest, provider="cuda") for one in missing),
        refused_models=tuple(msgspec.structs.replace(one, serves=digest) for one in missing),
    )
    assert len(state.refused_models) == 200
    assert decode_state(encode_state(state)) == state


def test_of_two_models_of_one_name_the_first_serves_at_a_start(tmp_path: Path, bundles: list[Path]) -> None:
    start = Start(tmp_path, of(*bundles[:2]))
    assert start.versions == ["1"]
    (refused,) = start.loading.refused.values()
    assert "2 models are named largest" in refused.reason


def test_a_model_that_does_not_fit_keeps_no_other_of_its_name_out(tmp_path: Path, bundles: list[Path]) -> None:
    slow = tmp_path / "slow.bundle"
    small_models.mean(4, 2).save(slow)
    write_version(bundles[0], "1", name=read_bundle(slow).manifest.name)
    start = Start(tmp_path, of(slow, bundles[0]))
    assert (start.versions, set(start.loading.refused)) == (["1"], {slow})


def test_a_bundle_that_was_replaced_is_deleted_once_the_journal_begins_behind_it(
    tmp_path: Path, bundles: list[Path]
) -> None:
    old, new = (read_bundle(path).digest for path in bundles[:2])
    models = Start(tmp_path, of(bundles[0]), now_ns=10).models
    shutil.copy(bundles[1], bundles[0])
    for now_ns, journal_from_ns, kept in ((20, 10, {old, new}), (30, 20, {old, new}), (40, 21, {new})):
        models.load(of(bundles[0]), SOURCE)
        models.adopt(now_ns, journal_from_ns)
        models.serve([new])
        assert {file.stem for file in (tmp_path / "models").glob("*.bundle")} == kept
    assert models.find(old) is None


def test_a_bundle_of_before_serves_only_beside_models_of_other_names(tmp_path: Path, bundles: list[Path]) -> None:
    Start(tmp_path, of(bundles[0]))
    truncate(bundles[0])
    start = Start(tmp_path, of(*bundles[:2]))  # the second is of the same name, and sound
    assert start.versions == ["2"]
    assert [(one.name, one.serves) for one in start.models.refused] == [("largest", "")]


def test_a_bundle_that_cannot_be_kept_is_left_out(
    tmp_path: Path, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: KeptBundles, _digest: str, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(KeptBundles, "keep", full)
    start = Start(tmp_path, of(bundles[0]))
    assert start.versions == []
    (refused,) = start.loading.refused.values()
    assert "no copy can be kept: [Errno 28] No space left on device: make room" in refused.reason


@pytest.mark.parametrize("serves_before", [False, True], ids=["new", "known"])
def test_a_model_that_no_configured_provider_runs_is_left_out_unless_one_is_required(
    tmp_path: Path, bundles: list[Path], monkeypatch: pytest.MonkeyPatch, serves_before: bool
) -> None:
    if serves_before:
        Start(tmp_path, of(bundles[0]))
    monkeypatch.setattr(OnnxRuntime, "why_not", lambda _self, provider: "it died" * (provider == "cuda"))
    gpu = UNSIGNED.model_copy(update={"providers": ("cuda",)})
    start = Start(tmp_path, of(bundles[0], inference=gpu))
    (refused,) = start.loading.refused.values()
    name = "largest" if serves_before else bundles[0].stem
    assert (start.versions, refused.model) == ([], name)
    assert "runs on none of inference.providers: cuda: it died. Once that is mended, restart" in refused.reason
    assert [(one.name, one.serves) for one in start.models.refused] == [(name, "")]
    digest = read_bundle(bundles[0]).digest
    found = start.models.find(digest)  # what the journal of before names
    assert found is not None
    with pytest.raises(ModelFailedError, match="it died"):
        found.score(None)  # type: ignore[arg-type]
    with pytest.raises(StartError, match="it died"):
        Start(tmp_path, of(bundles[0], inference=gpu.model_copy(update={"require": "cuda"})))


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
