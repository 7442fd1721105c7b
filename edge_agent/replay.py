"""The agent's pipeline over recorded data, without brokers: what a live hour gave, or would have given.

The same intake and the same pipeline as live. The clock of recorded messages is their newest time so far; it stands
still while late ones come. Live, a tick is journalled every 250 ms; here one stands before each group of messages that
moves the clock as far. What a live agent ticks between two messages closes what the tick before the second closes here.

Invariants
1. Recorded messages give the live agent's results, bit for bit. Only a silence as long as `idle_s`, give or take a
   tick, may end on its other side. The end of a recording closes what is open, and is nobody's silence.
2. A journal gives the very results that the live pipeline gave of it, from its first entry on. One whose beginning
   was trimmed cannot warm up filters, windows and alarms as it did. Under another configuration it gives what that
   would have made of the same readings.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

from edge_agent.adapters import examine, heap
from edge_agent.adapters.inference import ModelShelf
from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Configured, Data, JournalEntry, Tick, Withdrawn
from edge_agent.core.errors import StartError
from edge_agent.core.fitting import misfits
from edge_agent.core.intake import DeadLetter, Intake, Message
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.recent import Recent
from edge_agent.core.results import Results
from models.bundle import read_bundle
from models.contract.batch import Batch
from models.contract.config_errors import ConfigError

_MESSAGES = 256  # an entry, at most; results do not depend on it
_ENTRIES = 256  # a step of the pipeline, at most; nor on this
_TICK_NS = 250_000_000  # as often as the live agent looks for silence
_LONG_AGO_NS = -(1 << 62)
_EXAMPLES = 5


class Replay:
    """Counts what could not be used while it runs."""

    def __init__(self, config: EdgeConfig) -> None:
        self._config = config
        self.used = config  # the last configuration that was: a journal has its own
        self.deadletters: Counter[str] = Counter()  # by reason
        self.examples: dict[str, DeadLetter] = {}  # one a text, the first few

    def of_messages(self, messages: Iterable[Message]) -> Iterator[Batch]:
        """Results of recorded messages, in their order; `arrival_ns` is the recorded time.

        Raises BundleError, ConfigError, StartError.
        """
        with self._pipeline() as pipeline:
            yield from self._results(pipeline, self._entries(messages))
            results = Results()
            pipeline.end(results)
            yield from self._batches(results)

    def of_journal(
        self, on_read: Callable[[int, int], None] = lambda _done, _total: None, *, use_config: bool = False
    ) -> Iterator[Batch]:
        """Results of the agent's journal, with its own configurations and models; CONFIG's, where it begins without.

        `on_read(done, total)`: how many positions were read, and how many there are.
        `use_config`: CONFIG and its models instead, from the first entry to the last.
        Raises BundleError, ConfigError, StartError.
        """
        entries = self._journalled(on_read)
        if use_config:
            with self._pipeline() as pipeline:
                yield from self._results(pipeline, (one for one in entries if isinstance(one, Data | Tick)))
            return
        pipeline = Pipeline(ModelShelf(self._config.state_dir / "models", self._config.inference).find)
        yield from self._results(pipeline, self._with_a_configuration(entries))

    @contextmanager
    def _pipeline(self) -> Iterator[Pipeline]:
        """With CONFIG taken over, its models adopted."""
        with tempfile.TemporaryDirectory() as scratch:
            shelf = ModelShelf(Path(scratch), self._config.inference)
            adopted = shelf.adopt_all(sorted({path for rule in self._config.assets for path in rule.models}))
            manifests = {path: shelf.find(one.digest).manifest for path, one in adopted.items()}
            if wrong := misfits(self._config, manifests):
                raise ConfigError("\n".join(wrong.values()))
            pipeline = Pipeline(shelf.find)
            pipeline.run([self._configured({str(path): one.digest for path, one in adopted.items()})], Results())
            yield pipeline

    def _results(self, pipeline: Pipeline, entries: Iterable[JournalEntry]) -> Iterator[Batch]:
        heap.keep_freed_memory()
        source = iter(entries)
        while some := list(islice(source, _ENTRIES)):
            results = Results()
            pipeline.run(some, results)
            for digest, reason in pipeline.take_failures().items():
                pipeline.run([Withdrawn(arrival_ns=some[-1].arrival_ns, digest=digest, reason=reason)], results)
            self.used = pipeline.config or self.used
            yield from self._batches(results)

    def _batches(self, results: Results) -> Iterator[Batch]:
        if results.rows:
            yield results.batch(self._config.site, self._config.gateway, "replay", 1)

    def _configured(self, digests: dict[str, str]) -> Configured:
        return Configured(arrival_ns=0, config=self._config.model_dump_json(), digests=digests)

    def _with_a_configuration(self, entries: Iterator[JournalEntry]) -> Iterator[JournalEntry]:
        first = next(entries, None)
        if first is None:
            return
        if not isinstance(first, Configured):
            paths = {path for rule in self._config.assets for path in rule.models}
            yield self._configured({str(path): read_bundle(path).digest for path in paths})
        yield first
        yield from entries

    def _entries(self, messages: Iterable[Message]) -> Iterator[JournalEntry]:
        recent = Recent()
        intake = Intake(self._config, recent)
        begun_ns = None
        for ticked_ns, group in groupby(_ticked(messages), key=itemgetter(0)):
            begun_ns = ticked_ns if begun_ns is None else begun_ns
            yield Tick(arrival_ns=ticked_ns, listened_ns=ticked_ns - begun_ns)
            while some := [message for _, message in islice(group, _MESSAGES)]:
                entry = intake.take(some)
                recent.add(entry.keys, entry.packet_ids)
                self._count(entry.deadletters)
                if len(entry.readings.index) or entry.waveforms:
                    yield Data.of(some[-1].arrival_ns, entry.readings, entry.waveforms)

    def _count(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            self.deadletters[letter.reason] += 1
            if len(self.examples) < _EXAMPLES:
                self.examples.setdefault(letter.text, letter)

    def _journalled(self, on_read: Callable[[int, int], None]) -> Iterator[JournalEntry]:
        try:
            with examine.journal(self._config) as journal:
                cursor, before = 0, max(journal.first() - 1, 0)
                total = journal.last() - before
                while stored := journal.read(cursor):
                    cursor = stored[-1].seq
                    on_read(min(cursor - before, total), total)
                    for _, entry in stored:
                        yield entry
        except examine.ExamineError as error:
            raise StartError(str(error)) from error


def _ticked(messages: Iterable[Message]) -> Iterator[tuple[int, Message]]:
    """Each message with the time of the last tick before it."""
    now_ns = ticked_ns = _LONG_AGO_NS
    for message in messages:
        now_ns = max(now_ns, message.arrival_ns)
        if now_ns - ticked_ns >= _TICK_NS:
            ticked_ns = now_ns
        yield ticked_ns, message
