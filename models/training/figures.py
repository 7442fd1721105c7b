"""Figures in words: units and what each stands for, for table, card and report. Scripts get keys and bare numbers."""

from collections.abc import Iterator, Mapping

_UNITS = {"_h": "h", "_s": "s"}
# Braces stand for other figures, where they are there: bundles of other kits have others.
_MEANS: Mapping[str, str] = {
    "false_alarms_per_week_asked_for": "the wish, no measurement",
    "false_alarms_per_week_at_most": "90 % sure: all that the rows which settle the limit can show",
    "calibration_weeks": "of rows that settle the limit",
    "calibration_blocks": "stretches of these that do not depend on each other",
    "test_false_alarms": "opened and closed outside of events",
    "test_false_alarms_per_week": "{false_alarms_per_week_asked_for:g} asked for",
    "test_healthy_share_in_alarm": "of the time outside of events",
    "test_events_found": "an alarm opened in them",
    "test_events_already_in_alarm": "an alarm was open before they began: not found",
    "test_rmse_h": "lives above {cap_h:g} h count as {cap_h:g}",
    "test_coverage": "share of lives within their interval; {coverage_asked_for:g} asked for",
    "test_brier_score": "0 is perfect; always saying 0.5 gives 0.25",
    "held_out_rmse_h": "lives above {cap_h:g} h count as {cap_h:g}",
    "held_out_rmse_of_mean_h": "of always telling the mean life",
    "held_out_coverage": "share of lives within their interval; {coverage_asked_for:g} asked for",
}


def in_words(figures: Mapping[str, float]) -> dict[str, str]:
    """A name without its unit, and the value with it and with what it means."""
    return dict(_said(figures))


def shown(value: float) -> str:
    """Four digits that count, without an exponent where none is needed."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def counted(count: int, noun: str) -> str:
    """Such as 1 frame, 2 frames."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _said(figures: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    for key, value in figures.items():
        unit = next((suffix for suffix in _UNITS if key.endswith(suffix)), "")
        text = f"{shown(value)} {_UNITS[unit]}" if unit else shown(value)
        meaning = _meaning(key, figures)
        yield key.removesuffix(unit).replace("_", " "), f"{text} ({meaning})" if meaning else text


def _meaning(key: str, figures: Mapping[str, float]) -> str:
    try:
        return _MEANS.get(key, "").format_map(figures)
    except KeyError:
        return ""
