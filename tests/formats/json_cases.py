"""JSON: the usual shapes, and what is refused."""

from models.contract.quality import Quality
from tests.formats.case import ARRIVAL, SECOND, Case, Row, topic

UNTIMED = Quality.UNCERTAIN_ARRIVAL_TIME

READ: list[tuple[str, str | None, list[Row]]] = [
    # One reading; the topic names the channel.
    ('{"ts": 1700000000123, "value": 21.5}', "t", [("t", 1_700_000_000_123_000_000, 21.5)]),
    ('{"time": 1700000000, "v": -3}', "t", [("t", 1_700_000_000 * SECOND, -3.0)]),
    ('{"timestamp": "2023-11-14T22:13:20Z", "value": 0}', "t", [("t", 1_700_000_000 * SECOND, 0.0)]),
    ('{"value": 1e-3}', "t", [("t", None, 0.001)]),
    ('{"ts": null, "value": 1}', "t", [("t", None, 1.0)]),
    ('{"ts": 1, "value": 1, "channel": "other"}', "t", [("t", SECOND, 1.0)]),
    ("21.5", "t", [("t", None, 21.5)]),
    ("7", "t", [("t", None, 7.0)]),
    # One reading that names its channel.
    ('{"ts": 1, "value": 1, "channel": "p"}', None, [("p", SECOND, 1.0)]),
    # Many readings of one channel, in their order.
    ('[{"ts": 2, "value": 1}, {"ts": 1, "v": 2}]', "t", [("t", 2 * SECOND, 1.0), ("t", SECOND, 2.0)]),
    ('[{"ts": 2, "value": 1, "channel": "p"}, {"v": 2, "channel": "q"}]', None, [("p", 2 * SECOND, 1), ("q", None, 2)]),
    # Many channels of an asset, nested and flat.
    ('{"ts": 1, "values": {"t": 21.5, "p": 2}}', None, [("t", SECOND, 21.5), ("p", SECOND, 2.0)]),
    ('{"ts": 1, "t": 21.5, "p": 2}', None, [("t", SECOND, 21.5), ("p", SECOND, 2.0)]),
    ('{"t": 21.5}', None, [("t", None, 21.5)]),
    ('{"ts": {"seconds": 5, "nanos": 7}, "value": 1}', "t", [("t", 5 * SECOND + 7, 1.0)]),
    # Columns: equally far apart; with a time for each; of many channels. The values as they are sent.
    ('{"ts": 5, "dt": 0.000078125, "values": [0.1, -1]}', "v", [("v", 5 * SECOND, 0.1), ("v", 5 * SECOND + 78125, -1)]),
    ('{"ts": 5, "dt": 1e-12, "values": [1, 2]}', "v", [("v", 5 * SECOND, 1.0), ("v", 5 * SECOND + 1, 2.0)]),
    ('{"ts": [5, 7.5], "values": [1, 2]}', "v", [("v", 5 * SECOND, 1.0), ("v", 7_500_000_000, 2.0)]),
    ('{"ts": [7, 5, 6], "values": [1, 2, 3]}', "v", [("v", 7 * SECOND, 1), ("v", 5 * SECOND, 2), ("v", 6 * SECOND, 3)]),
    (
        '{"ts": 5, "dt": 1, "values": {"a": [1, 2], "b": [3]}}',
        None,
        [("a", 5 * SECOND, 1.0), ("a", 6 * SECOND, 2.0), ("b", 5 * SECOND, 3.0)],
    ),
    (
        '{"ts": [5, 6], "values": {"a": [1, 2], "b": [3, 4]}}',
        None,
        [("a", 5 * SECOND, 1.0), ("a", 6 * SECOND, 2.0), ("b", 5 * SECOND, 3.0), ("b", 6 * SECOND, 4.0)],
    ),
    # Without a time the last value is the arrival's.
    ('{"dt": 1, "values": [1, 2]}', "v", [("v", ARRIVAL - SECOND, 1.0, UNTIMED), ("v", ARRIVAL, 2.0, UNTIMED)]),
    # Lists of any shape.
    ('[{"ts": 5, "values": {"a": 1}}, {"ts": 6, "b": 2}]', None, [("a", 5 * SECOND, 1.0), ("b", 6 * SECOND, 2.0)]),
    (
        '[{"ts": 5, "dt": 1, "values": [1]}, {"ts": 9, "dt": 1, "values": [2]}]',
        "v",
        [("v", 5 * SECOND, 1), ("v", 9 * SECOND, 2)],
    ),
]

NESTED = "[" * 1000 + "]" * 1000  # legal JSON, deeper than Python's own repr can go

REFUSED: list[tuple[str, str | None, str]] = [
    ("", "t", "json"),
    ("{", "t", "json"),
    ('{"value": NaN}', "t", "json"),
    ('{"value": Infinity}', "t", "json"),
    ('{"value": 1e999}', "t", "json"),
    ("[" * 100_000, "t", "json"),
    ("null", "t", "value"),
    ('"21.5"', "t", "value"),
    ("21.5", None, "shape"),
    ('"RUNNING"', None, "shape"),
    ("null", None, "shape"),
    ("{}", "t", "shape"),
    ('{"ts": 1}', "t", "shape"),
    ('{"ts": 1, "values": {}}', "t", "shape"),
    ("[1, 2]", "t", "shape"),
    ('[{"value": 1}, null]', "t", "shape"),
    ('[{"ts": 1}]', "t", "shape"),
    (NESTED, "t", "shape"),
    ('{"ts": 1, "value": 1}', None, "channel"),
    ('{"ts": 1, "value": 1, "channel": 7}', None, "channel"),
    ('{"dt": 1, "values": [1]}', None, "channel"),
    ("true", "t", "value"),
    ('{"value": true}', "t", "value"),
    ('{"value": null}', "t", "value"),
    ('{"value": "21.5"}', "t", "value"),
    ('{"value": [1]}', "t", "value"),
    (f'{{"value": {NESTED}}}', "t", "value"),
    ('{"t": 1, "p": false}', None, "value"),
    ('{"values": {"t": 1, "p": null}}', None, "value"),
    ('[{"value": 1}, {"value": "x"}]', "t", "value"),
    ('{"dt": 1, "values": []}', "v", "value"),
    ('{"dt": 1, "values": [1, true]}', "v", "value"),
    ('{"dt": 1, "values": [1, "2"]}', "v", "value"),
    ('{"dt": 1, "values": [1, null]}', "v", "value"),
    ('{"dt": 1, "values": [1, [2]]}', "v", "value"),
    ('{"values": {"": 1}}', None, "channel"),
    ('{"a\\n": 1}', None, "channel"),
    ('{"ts": 1, "a": [1]}', None, "value"),
    ('{"ts": 1, "values": {"a": [1]}}', None, "shape"),
    ('{"ts": [1], "values": {"a": 1}}', None, "shape"),
    ('{"ts": [1, 2], "values": [1]}', "v", "shape"),
    ('{"ts": [], "values": [1]}', "v", "shape"),
    ('{"ts": [1], "value": 1}', "t", "time"),
    ('{"ts": [null], "values": [1]}', "v", "time"),
    ('{"ts": [18446744073709551615], "values": [1]}', "v", "time"),
    ('{"ts": 9223372036854775807, "dt": 1, "values": [1, 2]}', "v", "time"),
    ('{"ts": 18446744073709551615, "value": 1}', "t", "time"),
    ('{"ts": 1e300, "value": 1}', "t", "time"),
    ('{"ts": {"seconds": 1, "nanos": 1000000000}, "value": 1}', "t", "time"),
    ('{"ts": {"seconds": 1.5}, "value": 1}', "t", "time"),
    ('{"values": [1]}', "v", "shape"),
    ('{"dt": 0, "values": [1]}', "v", "shape"),
    ('{"dt": -1, "values": [1]}', "v", "shape"),
    ('{"dt": true, "values": [1]}', "v", "shape"),
    ('{"dt": "1", "values": [1]}', "v", "shape"),
    ('{"dt": 86400, "values": [1]}', "v", "shape"),
    (f'{{"dt": {NESTED}, "values": [1]}}', "v", "shape"),
    ('{"ts": true, "value": 1}', "t", "time"),
    ('{"ts": [], "value": 1}', "t", "time"),
    ('{"ts": {}, "value": 1}', "t", "time"),
    ('{"ts": "yesterday", "value": 1}', "t", "time"),
    ('{"ts": "", "value": 1}', "t", "time"),
    ('{"ts": "2024-02-30", "value": 1}', "t", "time"),
    (f'{{"ts": {NESTED}, "value": 1}}', "t", "time"),
]

CASES = [
    *(Case(topic(), text.encode(), channel, expected) for text, channel, expected in READ),
    *(Case(topic(), text.encode(), channel, reason) for text, channel, reason in REFUSED),
]
