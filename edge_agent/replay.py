"""The agent's pipeline over recorded data, without brokers: what a live hour gave, or would have given.

The same intake and the same pipeline as live; only the clock is the recording's own.
"""

import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from edge_agent.adapters import examine
from edge_agent.adapters.inference import ModelShelf
from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Configured, Data, JournalEntry, Tick
from edge_agent.core.errors import StartError
from edge_agent.core.intake import Intake, Message
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.results import Results
from models.contract.batch import Batch

_MESSAGES = 256  # an entry; results do not depend on it
_SILENCE_NS = 366 * 86_400 * 1_000_000_000  # after the last entry: every open frame closes


class Replay:
    """Counts what could not be used while it runs."""

    def __init__(self, config: EdgeConfig) -> None:
        self._config = config
        self.deadletters: list[str] = []

    def of_messages(self, messages: Iterable[Message]) -> Iterator[Batch]:
        """Results of recorded messages, in their order. Raises BundleError, StartError."""
        return self._results(self._entries(messages), None)

    def of_journal(self) -> Iterator[Batch]:
        """Results of the agent's journal, with its own configurations and models. Raises BundleError, StartError."""
        return self._results(_journalled(self._config), self._config.state_dir / "models")

    def _results(self, entries: Iterable[JournalEntry], shelf_folder: Path | None) -> Iterator[Batch]:
        with tempfile.TemporaryDirectory() as scratch:
            shelf = ModelShelf(shelf_folder or Path(scratch), self._config.inference)
            pipeline = Pipeline(shelf.find)
            if shelf_folder is None:
                pipeline.run([self._configured(shelf)], Results())
            for seq, entry in enumerate(entries, 1):
                yield from self._step(pipeline, entry, seq)
            yield from self._step(pipeline, Tick(arrival_ns=0, listened_ns=pipeline.listened_ns + _SILENCE_NS), 0)

    def _step(self, pipeline: Pipeline, entry: JournalEntry, seq: int) -> Iterator[Batch]:
        results = Results()
        if pipeline.is_configured or isinstance(entry, Configured):
            pipeline.run([entry], results)
        if results.rows:
            yield results.batch(self._config.site, self._config.gateway, "replay", seq)

    def _configured(self, shelf: ModelShelf) -> Configured:
        paths = sorted({path for rule in self._config.assets for path in rule.models})
        digests = {str(path): shelf.adopt(path) for path in paths}
        return Configured(arrival_ns=0, config=self._config.model_dump_json(), digests=digests)

    def _entries(self, messages: Iterable[Message]) -> Iterator[JournalEntry]:
        intake, source = Intake(self._config), iter(messages)
        while some := list(islice(source, _MESSAGES)):
            entry = intake.take(some)
            self.deadletters += [f"{letter.topic}: {letter.reason}: {letter.text}" for letter in entry.deadletters]
            if len(entry.readings.index) or entry.waveforms:
                yield Data.of(some[-1].arrival_ns, entry.readings, entry.waveforms)


def _journalled(config: EdgeConfig) -> Iterator[JournalEntry]:
    try:
        with examine.journal(config) as journal:
            cursor = 0
            while stored := journal.read(cursor):
                cursor = stored[-1].seq
                for _, entry in stored:
                    yield entry
    except examine.ExamineError as error:
        raise StartError(str(error)) from error
