"""docs/models.md says of bundles and keys what the program does: its commands run, its table and limits are true."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from edge_agent.config import Inference
from models import archive
from models.archive import MAX_BUNDLE_BYTES, MAX_PARTS
from models.bundle import BundleError, pack_bundle, parse_bundle
from models.graph_check import IR_VERSIONS, MAX_NODES
from models.manifest import PerChannel, Scalar
from models.onnx_operators import OPSETS
from models.signing import key_id, sign
from models.trust import Trust
from tests.bundles import KEY, STRANGER, graph, manifest

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return DOC.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


BUNDLES, KEYS = section("Bundles"), section("Keys and signatures")


def test_the_commands_for_keys_and_bundles_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    from tocsin.model import app

    shutil.copy(ROOT / "models" / "zoo" / "pump.bundle", tmp_path)
    names = "temperature,pressure,current,speed,vibration.rms,vibration.kurtosis,vibration.crest"
    rows = [f"2026-01-01T00:00:{i // 2:02}.{i % 2 * 5},{i},1,2,3,4,5,6" for i in range(40)]
    (tmp_path / "mypump.csv").write_text("\n".join([f"time,{names}", *rows]))
    monkeypatch.chdir(tmp_path)
    commands = [
        line for block in re.findall(r"```sh\n(.*?)```", BUNDLES + KEYS, re.DOTALL) for line in block.split("\n")
    ]
    for command in filter(None, commands):
        words = shlex.split(command, comments=True)
        assert words[:3] == ["./run", "tocsin", "model"]
        done = CliRunner().invoke(app, words[3:])
        assert done.exit_code == 0, f"{command}: {done.output}"
    assert len(commands) > 5
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1 + 31


def test_every_output_of_a_model_is_described() -> None:
    table = BUNDLES.partition("| output |")[2].partition("\n\n")[0]
    first = "".join(row.split("|")[1] for row in table.splitlines()[2:])
    assert set(re.findall(r"`(\w+)`", first)) == {*get_args(Scalar), *get_args(PerChannel)}


def test_the_limits_are_those_of_the_program() -> None:
    text = " ".join(BUNDLES.split())
    for said in (
        f"larger than {MAX_BUNDLE_BYTES // 1024**2} MiB",
        f"at most {MAX_PARTS} parts in all",
        f"the opsets {OPSETS[''][0]} to {OPSETS[''][-1]} (IR version {IR_VERSIONS[0]} to {IR_VERSIONS[-1]})",
        f"ai.onnx.ml {OPSETS['ai.onnx.ml'][0]} to {OPSETS['ai.onnx.ml'][-1]}",
        f"at most {MAX_NODES:,} nodes",
    ):
        assert said in text, said


def test_the_configuration_that_is_shown_can_be_used() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", KEYS, re.DOTALL)
    assert Inference.model_validate(tomllib.loads(shown)["inference"]).trusted_keys
    assert not Inference().allow_unsigned


def test_what_the_agent_is_said_to_say_is_what_it_says() -> None:
    bundle, other = (pack_bundle(manifest(version=version), graph(manifest())) for version in "12")
    parts = archive.unpack(bundle.to_bytes(), "m") | {"model.onnx": b""}
    of_other = sign(other, KEY).signature
    assert of_other is not None
    trust = Trust({key_id(KEY.public_key()): KEY.public_key()})
    told = []
    for content in (
        bundle,
        sign(bundle, STRANGER),
        bundle.signed(of_other),
        archive.pack(parts),
        bundle.to_bytes()[:-9],
    ):
        with pytest.raises(BundleError) as refused:
            trust.check(parse_bundle(content, "m") if isinstance(content, bytes) else content, "m")
        told.append(str(refused.value))
    said = re.findall(r"^\| `([^`]+)`", KEYS, re.MULTILINE)
    assert len(said) == len(told)
    for text, message in zip(said, told, strict=True):
        assert re.search(re.escape(text).replace("…", ".*"), message), (text, message)
