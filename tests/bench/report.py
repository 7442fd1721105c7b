"""How a benchmark is called and says what it found: a table, or with --json one JSON object on one line."""

import argparse
import json
import sys

from tests.bench.machine import machine


def parser(text: str | None) -> argparse.ArgumentParser:
    """Knows --json; a benchmark adds what else it takes. `text`: the module's docstring."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def wants_json(text: str | None) -> bool:
    """Whether the command line asks for JSON; for benchmarks that take nothing else."""
    return bool(parser(text).parse_args().json)


def print_json(bench: str, **measured: object) -> None:
    """The whole report; named tuples become objects."""
    report = {"bench": bench, "machine": machine()} | {name: _plain(value) for name, value in measured.items()}
    sys.stdout.write(json.dumps(report) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
