"""`tocsin edge check`: strict, says all that is wrong at once, and on request tries the models on their providers."""

import json
from pathlib import Path

import pytest

from tests import small_models
from tests.agents import edge, run_cli
from tests.edge.test_agent_models import truncate
from tests.swaps import PERIOD_MS, write_version

pytest.importorskip("onnxruntime")


def config(folder: Path, *models: Path, inference: str = "allow_unsigned = true") -> str:
    edge(folder, 1, models=models, period_s=PERIOD_MS / 1000, inference=inference)
    return str(folder / "edge.toml")


def test_it_names_every_model_file_that_cannot_be_used_and_every_one_that_fits_no_asset(tmp_path: Path) -> None:
    cut, gone, other, well = (tmp_path / f"{name}.bundle" for name in ("cut", "gone", "other", "well"))
    write_version(cut, "1")
    truncate(cut)
    small_models.mean(4, 2).save(other)
    write_version(well, "1")
    done = run_cli("edge_agent.cli", "check", config(tmp_path, cut, gone, other, well), "--json")
    faults = json.loads(done.stdout)["faults"]
    assert (done.returncode, len(faults)) == (2, 3)
    for name, fault in zip(
        ("cut.bundle: no bundle", "gone.bundle: cannot be read", "other.bundle was trained"), faults, strict=True
    ):
        assert name in fault


def test_it_proves_models_on_their_providers_when_asked(tmp_path: Path) -> None:
    well = tmp_path / "well.bundle"
    write_version(well, "1")
    toml = config(tmp_path, well)
    done = run_cli("edge_agent.cli", "check", toml, "--prove")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [f"{well}: runs on cpu", f"{toml}: sound: 2 topic templates, 1 model"],
    )
    done = run_cli("edge_agent.cli", "check", toml, "--prove", "--json")
    assert json.loads(done.stdout)["proved"] == {str(well): ["cpu", ""]}
    assert not (tmp_path / "state").exists()
    Path(toml).write_text(Path(toml).read_text().replace('["cpu"]', '["cpu", "cuda"]\nrequire = "cuda"'))
    done = run_cli("edge_agent.cli", "check", toml)
    assert (done.returncode, "; whether cuda can be used here tells --prove" in done.stdout) == (0, True)
    done = run_cli("edge_agent.cli", "check", toml, "--prove", "--json")
    (fault,) = json.loads(done.stdout)["faults"]
    assert (done.returncode, "inference.require = 'cuda', but " in fault) == (3, True)
    small_models.nothing().save(well)  # a sound bundle, and a model that never has an answer
    Path(toml).write_text(Path(toml).read_text().replace('require = "cuda"', "").replace("0.1", "1.0"))
    assert run_cli("edge_agent.cli", "check", toml).returncode == 0
    done = run_cli("edge_agent.cli", "check", toml, "--prove")
    assert (done.returncode, "is a number" in done.stderr) == (2, True)
