"""Models as the agent runs them: a window's score is its own, whatever else is in the batch."""

from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle, Channel, Manifest, Threshold, read_bundle

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from edge_agent.adapters.inference import ModelShelf, OnnxModel
from edge_agent.config import Inference
from models.training.graph import Graph, to_bytes

CPU = Inference(providers=("cpu",))
ZOO = sorted((Path(__file__).parents[2] / "models" / "zoo").glob("*.bundle"))


def row_by_row() -> Bundle:
    """A graph as anyone would write it: windows are the rows of one matrix."""
    graph = Graph()
    rng = np.random.default_rng(1)
    rows = graph.add("ReduceMean", "window", axes=[1], keepdims=0)
    mixed = graph.add("MatMul", rows, graph.constant(rng.normal(size=(33, 33))))
    one = graph.constant([1], np.int64)
    graph.add("ReduceSum", graph.add("Mul", mixed, mixed), one, to="anomaly_score", keepdims=1)
    model = graph.model("rows", ("window", ("batch", 4, 33)), {"anomaly_score": ("batch", 1)})
    manifest = Manifest(
        name="rows",
        version="1",
        kind="anomaly",
        channels=tuple(Channel(name=f"c{i}") for i in range(33)),
        sample_period_s=1.0,
        window=4,
        digest="",
        outputs=("anomaly_score",),
        threshold=Threshold(output="anomaly_score", open_at=1.0, close_at=0.7),
        trained_on="nothing",
    )
    return Bundle(manifest=manifest, model=to_bytes(model))


@pytest.mark.parametrize("bundle", [row_by_row(), *map(read_bundle, ZOO)], ids=lambda bundle: bundle.manifest.name)
def test_a_window_has_the_same_score_alone_and_in_any_batch(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    model = OnnxModel(bundle, CPU)
    says = "one by one" in capsys.readouterr().out
    assert says == (bundle.manifest.name == "rows")
    shape = (300, bundle.manifest.window, len(bundle.manifest.channels))
    frames = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    whole = model.score(frames)
    for start, count in ((0, 1), (1, 5), (6, 2), (8, 33), (41, 259)):
        part = model.score(frames[start : start + count])
        for name, column in part.fields.items():
            np.testing.assert_array_equal(column, whole.fields[name][start : start + count])


def test_a_kept_copy_that_a_power_cut_left_empty_is_made_anew(tmp_path: Path) -> None:
    digest = ModelShelf(tmp_path, CPU).adopt(ZOO[0])
    kept = tmp_path / f"{digest}.bundle"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:100])
    shelf = ModelShelf(tmp_path, CPU)
    assert shelf.adopt(ZOO[0]) == digest
    assert kept.read_bytes() == whole
    assert shelf.find(digest).manifest == read_bundle(ZOO[0]).manifest
