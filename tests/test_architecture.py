"""Holds the arrows between the houses, and what each part may import. No code of the product is run for it."""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
HOUSES = ("edge_agent", "aggregator", "models", "tocsin")
MAX_LINES = 400
IMPURE = frozenset(
    {
        "aiomqtt",
        "asyncio",
        "iotcore",
        "onnxruntime",
        "os",
        "paho",
        "random",
        "socket",
        "sqlite3",
        "subprocess",
        "threading",
        "time",
        "urllib3",
    }
)
# Names that are harmless although their module is not: a type of what is handed in.
PURE_NAMES = frozenset({"random.Random"})
TRAINING = frozenset({"onnx", "sklearn", "skl2onnx", "torch"})
# Named in the table of recipes, and imported by nobody before one is asked for.
DEEP_RECIPES = (
    "models.training.anomaly.conv_autoencoder",
    "models.training.anomaly.dense_autoencoder",
    "models.training.failure.convolution",
    "models.training.failure.network",
    "models.training.quality.network",
)
# The live agent, the agent over recorded data, the aggregator, and the commands that look into their files.
WIRING = {
    "edge_agent.app",
    "edge_agent.cli",
    "edge_agent.deadletters_cli",
    "edge_agent.doctor_cli",
    "edge_agent.journal_cli",
    "edge_agent.models",
    "edge_agent.replay",
    "edge_agent.rescore",
    "aggregator.app",
    "aggregator.cli",
    "aggregator.cli_fleet",
    "aggregator.cli_report",
}
# Which files beside these may import an adapter, and which: shared parts within the same house.
ADAPTER_IMPORTS = {
    "edge_agent.adapters.database": {"edge_agent.adapters.ballast", "edge_agent.adapters.salvage"},
    "edge_agent.adapters.deadletters": {"edge_agent.adapters.examine", "edge_agent.adapters.salvage"},
    "edge_agent.adapters.examine": {
        "edge_agent.adapters.ballast",
        "edge_agent.adapters.database",
        "edge_agent.adapters.journal_sqlite",
        "edge_agent.adapters.outbox_sqlite",
        "edge_agent.adapters.salvage",
    },
    "edge_agent.adapters.journal_sqlite": {
        "edge_agent.adapters.database",
        "edge_agent.adapters.letters_sqlite",
        "edge_agent.adapters.salvage",
    },
    "edge_agent.adapters.letters_sqlite": {"edge_agent.adapters.salvage"},
    "edge_agent.adapters.link_lean": {"edge_agent.adapters.link_report", "edge_agent.adapters.link_stream"},
    "edge_agent.adapters.link_paho": {"edge_agent.adapters.link_report", "edge_agent.adapters.link_stream"},
    "edge_agent.adapters.outbox_sqlite": {"edge_agent.adapters.database", "edge_agent.adapters.salvage"},
    "edge_agent.adapters.uplink": {"edge_agent.adapters.exchange"},
    "aggregator.adapters.keep_influx1": {"aggregator.adapters.store_influx1"},
    "aggregator.adapters.keep_influx2": {"aggregator.adapters.http", "aggregator.adapters.store_influx2"},
    "aggregator.adapters.keep_influx3": {"aggregator.adapters.http"},
    "aggregator.adapters.keep_sqlite": {"aggregator.adapters.sqlite_tables"},
    "aggregator.adapters.read_sqlite": {"aggregator.adapters.sqlite_tables"},
    "aggregator.adapters.reader_influx": {"aggregator.adapters.http", "aggregator.adapters.store_influx1"},
    "aggregator.adapters.sending": {"aggregator.adapters.http"},
    "aggregator.adapters.states": {"aggregator.adapters.uplink"},
    "aggregator.adapters.store_influx1": {"aggregator.adapters.http", "aggregator.adapters.sending"},
    "aggregator.adapters.store_influx2": {"aggregator.adapters.http", "aggregator.adapters.sending"},
    "aggregator.adapters.store_influx3": {"aggregator.adapters.http", "aggregator.adapters.sending"},
    "aggregator.adapters.uplink": {"aggregator.adapters.mqtt"},
    "aggregator.adapters.store_sqlite": {"aggregator.adapters.sqlite_tables"},
}


INFERENCE = "edge_agent.adapters.inference"


class Import(NamedTuple):
    """One imported module or name, dotted: `from a.b import c` is `a.b.c`."""

    importer: str  # module
    path: Path
    line: int
    target: str

    def is_within(self, names: Iterable[str]) -> bool:
        return any(self.target == name or self.target.startswith(name + ".") for name in names)

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.target}"


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files(*folders: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def read_imports(path: Path, source: str) -> Iterator[Import]:
    module = module_of(path)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports are not used here"
            for alias in node.names:
                yield Import(module, path, node.lineno, f"{node.module}.{alias.name}")


@cache  # only the worker that runs these tests needs it
def every() -> list[Import]:
    return [found for path in files(*HOUSES) for found in read_imports(path, (ROOT / path).read_text())]


def within(*modules: str) -> list[Import]:
    """The imports made inside these modules or packages."""
    return [i for i in every() if any(i.importer == m or i.importer.startswith(m + ".") for m in modules)]


def assert_none(wrong: Iterable[Import]) -> None:
    found = [str(i) for i in wrong]
    assert not found, "\n".join(found)


def is_foreign(found: Import, allowed: Iterable[str]) -> bool:
    top = found.target.partition(".")[0]
    return top not in sys.stdlib_module_names and not found.is_within(allowed)


@pytest.mark.parametrize(
    ("house", "others"),
    [
        ("edge_agent", ["aggregator", "tocsin"]),
        ("aggregator", ["edge_agent", "tocsin"]),
        ("models", ["edge_agent", "aggregator", "tocsin"]),
    ],
)
def test_a_house_never_imports_another_but_models(house: str, others: list[str]) -> None:
    assert_none(i for i in within(house) if i.is_within(others))


def test_the_contract_needs_only_light_libraries() -> None:
    allowed = ("models.contract", "msgspec", "numpy", "zstandard", "pydantic", "pydantic_core")
    assert_none(i for i in within("models.contract") if is_foreign(i, allowed))


def test_the_bundle_needs_only_light_libraries() -> None:
    parts = tuple(f"models.{part}" for part in ("archive", "graph_check", "manifest", "onnx_format", "onnx_operators"))
    allowed = (*parts, "models.contract", "pydantic", "google.protobuf")
    assert_none(i for i in within("models.bundle", *parts) if is_foreign(i, allowed))


@pytest.mark.parametrize("house", ["edge_agent", "aggregator"])
def test_the_core_has_no_clock_no_chance_and_no_io(house: str) -> None:
    assert_none(i for i in within(f"{house}.core") if i.is_within(IMPURE) and i.target not in PURE_NAMES)


@pytest.mark.parametrize("house", ["edge_agent", "aggregator"])
def test_the_core_of_a_house_imports_of_it_only_core_and_config(house: str) -> None:
    allowed = (f"{house}.core", f"{house}.config")
    assert_none(i for i in within(f"{house}.core") if i.is_within([house]) and not i.is_within(allowed))


def test_the_core_calls_no_built_in_that_touches_the_world() -> None:
    forbidden = {"open", "print", "input", "exec", "eval", "__import__"}
    wrong = [
        f"{path}:{node.lineno} calls {node.func.id}"
        for path in files("edge_agent/core", "aggregator/core")
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in forbidden
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_wiring_knows_the_adapters() -> None:
    def is_wrong(found: Import) -> bool:
        shared = ADAPTER_IMPORTS.get(found.importer, ())
        if found.importer.startswith(INFERENCE):  # one adapter in several files
            shared = {INFERENCE}
        return found.importer not in WIRING and not found.is_within(shared)

    adapters = ("edge_agent.adapters", "aggregator.adapters")
    assert_none(i for i in every() if i.is_within(adapters) and is_wrong(i))


def test_training_libraries_are_imported_only_by_the_model_kit() -> None:
    kit = ("models.training", "models.evaluation")
    assert_none(i for i in every() if i.is_within(TRAINING) and i not in within(*kit))


def test_pytorch_is_imported_only_by_deep_recipes_and_what_they_share() -> None:
    deep = "models.training.deep"
    recipes = within(*DEEP_RECIPES)
    assert_none(i for i in every() if i.is_within(["torch"]) and i not in [*recipes, *within(deep)])
    assert_none(i for i in every() if i.is_within([deep]) and i not in [*recipes, *within(deep)])
    # Each other, and the benchmark that a deep recipe is run on.
    users = [*recipes, *within("models.evaluation.cmapss")]
    assert_none(i for i in every() if i.is_within(DEEP_RECIPES) and i not in users)


def test_the_influxdb_client_is_imported_only_by_the_aggregators_adapters() -> None:
    assert_none(i for i in every() if i.is_within(["influxdb_client"]) and i not in within("aggregator.adapters"))


def test_onnx_runtime_is_imported_only_where_models_are_run() -> None:
    places = within("edge_agent.adapters.inference", "models.training", "models.evaluation")
    assert_none(i for i in every() if i.is_within(["onnxruntime"]) and i not in places)


def test_libraries_for_files_and_pictures_are_imported_only_by_the_replay_and_the_plot_of_an_answer() -> None:
    places = within(
        "tocsin.replaying", "tocsin.model_fetch", "aggregator.output.plot",
        "models.training.data.parquet", "models.evaluation.report.charts",
    )  # fmt: skip
    assert_none(i for i in every() if i.is_within(["matplotlib", "polars"]) and i not in places)


def test_no_file_of_the_product_is_longer_than_a_person_reads() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in files(*HOUSES)}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize(
    ("folder", "plugins", "helpers"),
    [
        (
            "edge_agent/core/decode",
            ["cbor", "json", "line_protocol", "msgpack", "raw", "senml", "sparkplug", "text"],
            [
                "cbor_reader",
                "compression",
                "json_simple",
                "places",
                "rules",
                "senml_fields",
                "shapes",
                "source_quality",
                "times",
                "values",
            ],
        ),
        (
            "edge_agent/core/denoise",
            [
                *["butterworth", "deadband", "exponential", "hampel", "kalman", "median", "notch"],
                *["savitzky_golay", "swinging_door", "wavelet"],
            ],
            ["chain", "reporting", "reports", "runs", "sections"],
        ),
        (
            "edge_agent/core/features",
            ["bearing", "moments", "spectrum", "velocity"],
            ["block", "extract", "filters"],
        ),
        (
            "edge_agent/core/checks",
            ["clock", "flat", "order", "quantum", "range", "rate", "redundancy", "silence"],
            ["chain", "marks", "rows", "settings"],
        ),
        (
            "aggregator/adapters",
            [
                "keep_influx1",
                "keep_influx2",
                "keep_influx3",
                "keep_sqlite",
                "store_influx1",
                "store_influx2",
                "store_influx3",
                "store_sqlite",
            ],
            [
                "http",
                "mqtt",
                "read_sqlite",
                "reader_influx",
                "sending",
                "sqlite_tables",
                "states",
                "status",
                "stores",
                "uplink",
            ],
        ),
    ],
)
def test_each_folder_of_plug_ins_holds_exactly_these_files(folder: str, plugins: list[str], helpers: list[str]) -> None:
    found = {path.stem for path in files(folder)} - {"__init__"}
    assert found == {*plugins, *helpers}


def test_the_table_of_decoders_names_each_file_of_its_folder() -> None:
    from edge_agent.core.decode import DECODERS

    assert {name: decoder.__module__.rpartition(".")[2] for name, decoder in DECODERS.items()} == {
        "json": "json",
        "msgpack": "msgpack",
        "cbor": "cbor",
        "senml-json": "senml",
        "senml-cbor": "senml",
        "influx-line": "line_protocol",
        "text": "text",
    }


def test_the_tables_of_filters_and_reporters_name_each_file_of_their_folder() -> None:
    from edge_agent.core.denoise import FILTERS, REPORTERS

    assert {name: made.__module__.rpartition(".")[2] for name, made in (FILTERS | REPORTERS).items()} == {
        name: name.replace("-", "_")
        for name in (
            *("hampel", "median", "exponential", "savitzky-golay", "butterworth", "notch", "kalman"),
            *("deadband", "swinging-door"),
        )
    }


def test_the_table_of_stores_names_each_file_of_its_folder() -> None:
    from aggregator.adapters.stores import KINDS

    assert {kind: place.store.partition(":")[0] for kind, place in KINDS.items()} == {
        "sqlite": "store_sqlite",
        "influx1": "store_influx1",
        "influx2": "store_influx2",
        "influx3": "store_influx3",
    }
    assert {kind: place.keeper.partition(":")[0] for kind, place in KINDS.items()} == {
        kind: f"keep_{kind}" for kind in KINDS
    }


def test_the_reader_of_imports_sees_those_inside_functions() -> None:
    source = "import os\ndef f():\n    from edge_agent.adapters import uplink\n    import a.b\n"
    found = [i.target for i in read_imports(Path("edge_agent/core/x.py"), source)]
    assert found == ["os", "edge_agent.adapters.uplink", "a.b"]
