"""The folder of kept bundles: one file a digest, and which of them served last for each model file.

    <digest>.bundle    so that a journal can be replayed with the models it was made with
    index.json         serves: model file -> digest; left_ns: digest -> when it left the configuration

Invariants
1. A bundle goes only when the journal begins after it has left the configuration: no entry that is kept names it, nor
   was made under it.
2. After a crash at whatever moment there may be a bundle too many, and never one too few. One that the index does not
   know counts as having just left; without an index they all do.
"""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import structlog

from models.bundle import Bundle, Vouch, read_bundle

_log = structlog.get_logger()
_SUFFIX, _PARTIAL = ".bundle", ".partial"


class KeptBundles:
    """Of one agent. Times are the journal's."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._index = folder, folder / "index.json"

    def read(self, digest: str, vouch: Vouch | None = None) -> Bundle:
        """Raises BundleError: there is none, it is damaged, or `vouch` refuses it."""
        return read_bundle(self._file(digest), vouch)

    def holds(self, digest: str, content: bytes) -> bool:
        """Whether it is there, whole."""
        try:
            return self._file(digest).read_bytes() == content
        except OSError:
            return False

    def keep(self, digest: str, content: bytes) -> None:
        """In one step: after a power cut it is whole or not there. `sync` must follow. Raises OSError."""
        self._write(self._file(digest), content)

    def sync(self) -> None:
        """What was put into the folder stays there after a power cut."""
        opened = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

    def last(self, file: Path) -> str:
        """The digest that served last for a model file; empty: none did."""
        return str(self._read_index()["serves"].get(str(file), ""))

    def expect(self, digests: Collection[str]) -> None:
        """The journal will name these: to be called before it does, or a crash in between would let one go too early.

        Raises OSError: then the index is gone, as one that is wrong would let them go too early.
        """
        index = self._read_index()
        if index["left_ns"].keys().isdisjoint(digests):
            return
        left = {digest: left_ns for digest, left_ns in index["left_ns"].items() if digest not in digests}
        try:
            self._write_index(index["serves"], left)
        except OSError:
            self._index.unlink(missing_ok=True)
            raise
        finally:
            self.sync()

    def settle(self, serves: Mapping[Path, str], now_ns: int, journal_from_ns: int) -> None:
        """These serve from `now_ns` on; what nobody needs any more goes.

        journal_from_ns: the time of the oldest entry that the journal keeps. Raises OSError.
        """
        if not self._folder.exists() and not serves:
            return
        known = self._read_index()["left_ns"]
        there = {file.stem for file in self._folder.glob(f"*{_SUFFIX}")}
        left = {digest: min(now_ns, known.get(digest, now_ns)) for digest in sorted(there - set(serves.values()))}
        self._write_index({str(file): digest for file, digest in sorted(serves.items())}, left)
        gone = [digest for digest, left_ns in left.items() if left_ns < journal_from_ns]
        for digest in gone:
            self._file(digest).unlink(missing_ok=True)
        for file in self._folder.glob(f"*{_PARTIAL}"):  # a crash left it
            file.unlink(missing_ok=True)
        if gone:
            _log.info("kept models that no journal entry needs are deleted", digests=gone)

    def _read_index(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self._index.read_bytes())
            return {"serves": dict(found["serves"]), "left_ns": {d: int(ns) for d, ns in found["left_ns"].items()}}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {"serves": {}, "left_ns": {}}

    def _write_index(self, serves: Mapping[str, str], left_ns: Mapping[str, int]) -> None:
        self._write(self._index, json.dumps({"serves": serves, "left_ns": left_ns}, indent=2).encode())

    def _write(self, file: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(_PARTIAL)
        with partial.open("wb") as copy:
            copy.write(content)
            copy.flush()
            os.fsync(copy.fileno())
        partial.replace(file)

    def _file(self, digest: str) -> Path:
        return self._folder / f"{digest}{_SUFFIX}"
