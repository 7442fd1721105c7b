"""Plain text: the whole payload is one value."""

from typing import Any

from tests.formats.case import Case, topic

READ: list[tuple[dict[str, Any], str, float | None]] = [  # None: left out
    ({}, "21.5", 21.5),
    ({}, " \t-1.5e1\r\n", -15.0),
    ({}, "+7", 7.0),
    ({"decimal_comma": True}, "21,5", 21.5),
    ({"decimal_comma": True, "numbers_in_text": True}, "3", 3.0),
    ({"states": {"IDLE": 0, "RUNNING": 1.5}}, "RUNNING\n", 1.5),
    ({"states": {"IDLE": 0}}, "4", 4.0),
    ({"states": {"press five": 5, "läuft": 6}}, "läuft", 6.0),
    ({"booleans": "number"}, "true", 1.0),
    ({"booleans": "number"}, "False", 0.0),
    ({"booleans": "number"}, "ON", 1.0),
    ({"booleans": "number"}, "off", 0.0),
    ({"booleans": "number"}, "2", 2.0),
    ({"booleans": "number", "states": {"ON": 7}}, "ON", 7.0),
    ({"texts": "skip"}, "n/a", None),
    ({"texts": "skip"}, "5", 5.0),
    ({}, "1".rjust(400), 1.0),
]

REFUSED: list[tuple[dict[str, Any], bytes, str | None, str]] = [
    ({}, b"", "t", "shape"),
    ({}, b" \n", "t", "shape"),
    ({"texts": "skip"}, b"", "t", "shape"),
    ({}, b"1" * 257, "t", "shape"),
    ({}, b"21.5", None, "channel"),
    ({}, b"\xff\xfe", "t", "text"),
    ({}, b"RUNNING", "t", "value"),
    ({}, b"21,5", "t", "value"),
    ({}, b"21.5 degC", "t", "value"),
    ({}, b"nan", "t", "value"),
    ({}, b"1e999", "t", "value"),
    ({}, b"true", "t", "value"),
    ({}, b"null", "t", "value"),
    ({}, "\N{ARABIC-INDIC DIGIT ONE}".encode(), "t", "value"),
    ({"booleans": "refuse"}, b"on", "t", "value"),
    ({"decimal_comma": True}, b"21.5", "t", "value"),
    ({"states": {"ON": 1}}, b"OFF", "t", "value"),
]

CASES = [
    *(
        Case(
            topic("text", **settings), text.encode(), "t", [] if value is None else [("t", None, value)], value is None
        )
        for settings, text, value in READ
    ),
    *(Case(topic("text", **settings), payload, channel, reason) for settings, payload, channel, reason in REFUSED),
]
