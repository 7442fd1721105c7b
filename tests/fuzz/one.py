"""Fuzzes one target, guided by coverage: `python -m tests.fuzz.one NAME FOLDER INPUTS [FILE]`.

With a file, only that input is run. The exit status tells whether all held.

The folder keeps what was found: `corpus/`, and the input of a failure.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edge_agent.core", "aggregator.core", "models"]):
    from tests.fuzz.targets import WORDS, target

MAX_INPUT_BYTES = 1024
RSS_LIMIT_MB = 768  # of the whole process: what bounded decoders stay far below
SLOW_S = 5  # an input that takes longer is a failure


def main() -> None:
    """Run until the inputs are used up; never returns."""
    name, folder, inputs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    run, seeds = target(name)
    corpus, words = folder / "corpus", folder / "words.txt"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    options = {
        "runs": inputs,
        "max_len": MAX_INPUT_BYTES,
        "rss_limit_mb": RSS_LIMIT_MB,
        "timeout": SLOW_S,
        "dict": words,
        "artifact_prefix": f"{folder}/",
        "print_final_stats": 1,
    }
    places = sys.argv[4:] or [str(corpus)]
    atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), *places], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
