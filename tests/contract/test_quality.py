"""Quality codes: numbers that stand in databases."""

import pytest

from models.contract.quality import BAD_FROM, UNCERTAIN_FROM, Quality, label


def test_the_stored_numbers_have_not_changed() -> None:
    assert {(quality.name, int(quality)) for quality in Quality} >= {
        ("GOOD", 0),
        ("UNCERTAIN_SPIKE", 65),
        ("UNCERTAIN_LATE", 66),
        ("UNCERTAIN_ARRIVAL_TIME", 67),
        ("UNCERTAIN_CONFLICT", 68),
        ("UNCERTAIN_RATE", 69),
        ("UNCERTAIN_FLAT", 70),
        ("UNCERTAIN_STALE", 72),
        ("UNCERTAIN_SOURCE", 73),
        ("UNCERTAIN_OPERATING", 74),
        ("UNCERTAIN_ORDER", 75),
        ("UNCERTAIN_NO_DATA", 76),
        ("UNCERTAIN_CLOCK", 77),
        ("UNCERTAIN_CLOCK_JUMP", 78),
        ("UNCERTAIN_QUANTUM", 79),
        ("UNCERTAIN_DISAGREES", 80),
        ("BAD_RANGE", 129),
        ("BAD_SOURCE", 130),
    }


def test_each_code_lies_in_the_band_of_its_severity() -> None:
    bands = {"GOOD": (0, UNCERTAIN_FROM), "UNCERTAIN": (UNCERTAIN_FROM, BAD_FROM), "BAD": (BAD_FROM, 256)}
    for quality in Quality:
        low, high = bands[quality.name.partition("_")[0]]
        assert low <= quality < high


def test_each_code_has_words_that_begin_with_its_severity_and_no_two_the_same() -> None:
    words = [label(quality) for quality in Quality]
    assert len(set(words)) == len(Quality)
    assert all(text == "good" or (": " in text and "_" not in text) for text in words)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "good"),
        (0.0, "good"),
        (65, "uncertain: spike"),
        (66.0, "uncertain: late"),
        (67, "uncertain: arrival time"),
        (74, "uncertain: operating"),
        (76, "uncertain: no data"),
        (78, "uncertain: clock jump"),
        (80, "uncertain: disagrees"),
        (129, "bad: range"),
        (1, "good: 1"),
        (100, "uncertain: 100"),
        (255, "bad: 255"),
    ],
)
def test_a_code_in_words_keeps_its_severity_even_when_unknown(code: float, words: str) -> None:
    assert label(code) == words
