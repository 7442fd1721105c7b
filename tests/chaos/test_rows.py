"""The comparison finds each kind of difference, and reads what a real InfluxDB holds."""

import urllib.request

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.rows import PROBE, Content, Fields, Key, compare, count, read
from tests.servers import Influx1

FIELDS: Fields = (("value", 1.5), ("quality", 0.0))
KEYS = st.builds(lambda number: Key("reading", ("s", "a", "c"), number), st.integers(0, 9))
CONTENTS = st.dictionaries(KEYS, st.sampled_from([FIELDS, (("value", 2.5),)]))


@given(CONTENTS, CONTENTS)
def test_no_difference_means_equal_and_each_row_that_differs_is_named_once(expected: Content, found: Content) -> None:
    difference = compare(expected, found)
    assert difference.is_none == (expected == found)
    repaired = {key: fields for key, fields in found.items() if key not in difference.extra}
    repaired |= {key: expected[key] for key in (*difference.missing, *difference.different)}
    assert repaired == expected


def test_a_reading_under_a_second_time_is_extra() -> None:
    right, wrong = Key("reading", ("s", "a", "c"), 1), Key("reading", ("s", "a", "c"), 2)
    assert compare({right: FIELDS}, {right: FIELDS, wrong: FIELDS}).extra == [wrong]


def post(url: str, body: bytes) -> None:
    with urllib.request.urlopen(url, data=body):  # noqa: S310 - always http on the loopback
        pass


def test_all_rows_of_a_database_are_read_with_tags_fields_and_times(influx1: Influx1) -> None:
    database = "chaos_rows"
    assert count(influx1.url, database) == 0
    lines = [f"reading,site=s,asset=a,channel=c value={n}.5,quality=65 {n}" for n in range(12_000)]
    lines += [
        f"reading,site=s,asset={PROBE},channel=c value=1 7",
        "inference,site=s,asset=a,model=m,version=1 anomaly_score=0.25 5",
        'alarm,site=s,asset=a,code=m is_open=1,severity=0.5,id="a/m/5",message="too, hot" 5',
    ]
    post(f"{influx1.url}/query?q=CREATE+DATABASE+{database}", b"")
    post(f"{influx1.url}/write?db={database}", "\n".join(lines).encode())
    content = read(influx1.url, database)
    assert count(influx1.url, database) == len(content) == 12_002
    assert count(influx1.url, database, asset=PROBE) == 1
    assert content[Key("reading", ("s", "a", "c"), 11_999)] == (("value", 11_999.5), ("quality", 65))
    assert content[Key("inference", ("s", "a", "m", "1"), 5)] == (("anomaly_score", 0.25),)
    assert dict(content[Key("alarm", ("s", "a", "m"), 5)])["message"] == "too, hot"
