"""A person reads of each figure its unit and what it stands for."""

from hypothesis import given
from hypothesis import strategies as st

from models.training.figures import counted, in_words


def test_units_caps_and_wishes_stand_beside_the_figures() -> None:
    said = in_words(
        {"cap_h": 140.0, "coverage_asked_for": 0.8, "test_rmse_h": 12.7, "test_coverage": 0.7205, "test_windows": 41234}
    )
    assert said["test rmse"] == "12.7 h (lives above 140 h count as 140)"
    assert said["test coverage"].startswith("0.7205 (")
    assert said["test coverage"].endswith("0.8 asked for)")
    assert said["test windows"] == "41,234"


def test_what_a_bundle_of_another_kit_lacks_is_left_out() -> None:
    assert in_words({"test_rmse_h": 12.7, "{x}": 1.0}) == {"test rmse": "12.7 h", "{x}": "1"}


@given(st.dictionaries(st.text(), st.floats(allow_nan=False)))
def test_any_figures_can_be_said(figures: dict[str, float]) -> None:
    assert all(in_words(figures).values()) or not figures


def test_one_is_not_many() -> None:
    assert [counted(count, "frame") for count in (0, 1, 2000)] == ["0 frames", "1 frame", "2,000 frames"]
