"""Topic filters that people type (MQTT 5, section 4.7), checked before anything is connected."""

import re

_LONGEST_BYTES = 65_535
# What a faulty filter matches, and what to say of it.
_FAULTS = (
    (re.compile(r"\A\Z"), "is empty (allowed: a topic, with + and # for whole levels)"),
    (re.compile(r"[\ud800-\udfff]"), "is no text in UTF-8"),
    (re.compile(r"\0"), "holds a character 0 (allowed: any other)"),
    (
        re.compile(r"\A\$share(/|\Z)"),
        "is shared: it would take messages from those who share it (allowed: plain filters)",
    ),
    (re.compile(r"#(?!\Z)|[^/]#"), "has a # (allowed: as the whole of the last level, such as plant/#)"),
    (re.compile(r"\+[^/]|[^/]\+"), "has a + (allowed: as the whole of a level, such as plant/+/temperature)"),
)


def filter_fault(text: str) -> str:
    """What is wrong with the filter, and what is allowed; empty: nothing is."""
    fault = next((said for pattern, said in _FAULTS if pattern.search(text)), "")
    if not fault and len(text.encode()) > _LONGEST_BYTES:
        return f"has {len(text.encode())} bytes (allowed: {_LONGEST_BYTES})"
    return fault
