"""Kept bundles go when no entry of the journal needs them, and none goes before: whatever happens in between."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.adapters.inference.kept import KeptBundles

FILES = [Path("/a.bundle"), Path("/b.bundle")]
PARTS = [f"{number:064x}" for number in range(4)]


def there(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("*.bundle")}


@pytest.mark.parametrize("spoil", ["nothing", "no index", "half an index", "another index"])
def test_a_bundle_goes_once_the_journal_begins_after_it_left_the_configuration(tmp_path: Path, spoil: str) -> None:
    kept = KeptBundles(tmp_path)
    for digest in PARTS[:3]:
        kept.keep(digest, b"content")
    kept.settle({FILES[0]: PARTS[0]}, now_ns=10, journal_from_ns=10)
    kept.settle({FILES[0]: PARTS[1]}, now_ns=20, journal_from_ns=10)  # the third was never named
    assert there(tmp_path) == set(PARTS[:3])
    index = tmp_path / "index.json"
    left_ns = 20
    if spoil != "nothing":
        left_ns = 30  # nothing is known of it
        index.write_text({"half an index": index.read_text()[:20], "another index": '{"serves": 1}'}.get(spoil, ""))
        if spoil == "no index":
            index.unlink()
        assert kept.last(FILES[0]) == ""
    kept = KeptBundles(tmp_path)
    kept.settle({FILES[0]: PARTS[1]}, now_ns=30, journal_from_ns=left_ns)
    assert PARTS[0] in there(tmp_path)
    (tmp_path / "crashed.partial").write_bytes(b"half")
    kept.settle({FILES[0]: PARTS[1]}, now_ns=40, journal_from_ns=left_ns + 1)
    assert there(tmp_path) == {PARTS[1]}
    assert KeptBundles(tmp_path).last(FILES[0]) == PARTS[1]
    assert {file.name for file in tmp_path.iterdir()} == {f"{PARTS[1]}.bundle", "index.json"}


def test_a_bundle_that_comes_back_on_a_full_disk_does_not_go_too_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: KeptBundles, _file: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    kept = KeptBundles(tmp_path)
    for digest in PARTS[:2]:
        kept.keep(digest, b"content")
    kept.settle({FILES[0]: PARTS[0]}, now_ns=10, journal_from_ns=10)
    kept.settle({FILES[0]: PARTS[1]}, now_ns=20, journal_from_ns=10)
    with monkeypatch.context() as patch:
        patch.setattr(KeptBundles, "_write", full)
        for call in (kept.expect, lambda digests: kept.settle({FILES[0]: digests[0]}, 30, 25)):
            with pytest.raises(OSError, match="No space"):
                call(PARTS[:1])
    kept.settle({FILES[0]: PARTS[1]}, now_ns=40, journal_from_ns=25)  # entries from 30 to 40 are the first one's
    assert there(tmp_path) == set(PARTS[:2])


def test_an_agent_without_models_has_no_folder_for_them(tmp_path: Path) -> None:
    KeptBundles(tmp_path / "models").settle({}, now_ns=1, journal_from_ns=1)
    assert not (tmp_path / "models").exists()


class _CrashError(BaseException):
    pass


class Disk:
    """Dies before the write or deletion number `left`, counted from 0."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = 0
        for name in ("replace", "unlink"):
            patch.setattr(Path, name, self._or_crash(getattr(Path, name)))
        patch.setattr(os, "fsync", lambda _file: None)

    def _or_crash(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **more: Any) -> Any:
            if not self.left:
                raise _CrashError
            self.left -= 1
            return work(*arguments, **more)

        return do


starts = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(FILES), st.sampled_from(PARTS)),  # what serves from now on
        st.one_of(st.just(99), st.integers(0, 6)),  # writes and deletions before a crash
        st.integers(0, 3),  # entries that the ring lets go of
    ),
    max_size=10,
)


@settings(max_examples=80, deadline=None)
@given(starts)
def test_whenever_it_crashes_each_bundle_that_an_entry_names_is_there(history: list[tuple[Any, int, int]]) -> None:
    with TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        folder, disk = Path(scratch), Disk(patch)
        ring: list[tuple[int, frozenset[str]]] = []
        for now_ns, (serves, crash_after, gone) in enumerate(history, 1):
            kept, disk.left = KeptBundles(folder), crash_after
            with contextlib.suppress(_CrashError):
                for digest in set(serves.values()):
                    if not kept.holds(digest, b"x"):
                        kept.keep(digest, b"x")
                kept.expect(serves.values())
                # From here on, and until the next, entries may be made with these.
                ring = [*ring, (now_ns, frozenset(serves.values()))][gone:] or [(now_ns, frozenset(serves.values()))]
                kept.settle(serves, now_ns, ring[0][0])
            named = frozenset[str]().union(*(digests for _, digests in ring))
            assert named <= there(folder)
