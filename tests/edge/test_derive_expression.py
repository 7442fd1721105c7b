"""The language of derived channels, against Python's own arithmetic."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.derive.expression import Expression, ExpressionError

NAMES = ("a", "b", "c")
LEAVES = st.sampled_from(NAMES) | st.sampled_from(["0", "1", "2.5", "1e3"])


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, st.sampled_from(["<", "<=", ">", "==", "!=", "and", "or"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(st.sampled_from(["abs", "-", "not "]), inner).map(lambda t: f"({t[0]}({t[1]}))"),
    )


def python(text: str, values: dict[str, float]) -> float:
    """What Python says where every value is there; a condition counts as 1 or 0."""
    try:
        found = eval(text, {"__builtins__": {}}, values | {"abs": abs, "min": min, "max": max})  # noqa: S307
    except (ZeroDivisionError, OverflowError):
        return math.nan
    return float(found)


@given(st.recursive(LEAVES, _grow, max_leaves=12), st.lists(st.floats(-9, 9), min_size=3, max_size=3))
@settings(deadline=None, max_examples=300)
def test_arithmetic_and_comparisons_are_those_of_python(text: str, numbers: list[float]) -> None:
    text = f"0 * a + {text}"
    if " and " in text or " or " in text:
        return  # Python gives an operand, this language 1 or 0: below
    values = dict(zip(NAMES, numbers, strict=True))
    expected = python(text, values)
    found = float(Expression(text)({name: np.array([value]) for name, value in values.items()})[0])
    assert found == expected or math.isnan(expected) or math.isinf(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < 2 and b < 2", [1, 0, 0, math.nan, 0, math.nan]),
        ("a < 2 or b < 2", [1, 1, 0, 1, math.nan, math.nan]),
        ("not a < 2", [0, 0, 1, 0, 1, math.nan]),
        ("0 < a < 2", [1, 1, 0, 1, 0, math.nan]),
        ("a * b", [1, 3, 9, math.nan, math.nan, math.nan]),
    ],
)
def test_a_missing_value_is_unknown_and_not_false(text: str, expected: list[float]) -> None:
    a, b = np.array([1.0, 1, 3, 1, 3, math.nan]), np.array([1.0, 3, 3, math.nan, math.nan, math.nan])
    np.testing.assert_array_equal(Expression(text)({"a": a, "b": b}), expected)


@pytest.mark.parametrize("text", ["1 / a", "1 / (1 / a)", "log(a)", "sqrt(a - 1)", "exp(a + 1000)", "-(1 / a) < 5"])
def test_what_has_no_finite_value_is_missing(text: str) -> None:
    assert np.isnan(Expression(text)({"a": np.zeros(1)})).all()


def test_a_name_in_braces_may_be_any() -> None:
    expression = Expression(" {Volume Flow RateRMS} / {2nd} + {µ} + flow")
    assert expression.names == ["Volume Flow RateRMS", "2nd", "µ", "flow"]
    assert expression({name: np.ones(2) for name in expression.names}).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{a}0 + b", "character 1: braces and letters side by side"),
        ("x{a}", "side by side"),
        ("", "character 1: cannot be read"),
        ("a +", "cannot be read"),
        ("a b", "cannot be read"),
        ("{a", "cannot be read"),
        ("{} + 1", "character 1: the braces are empty"),
        ("  {ä ü} + a.b", "character 11: not part of the language"),
        ("a ** 2", "character 1: not part"),
        ("a + [1]", "character 5: not part"),
        ("a if b else c", "not part"),
        ("__import__('os')", "not part"),
        ("a + (lambda: 1)()", "character 5: not part"),
        ("'a' + b", "character 1: not part"),
        ("a + True", "character 5: not part"),
        ("a := 1", "cannot be read"),
        ("a # b", "character 3: not part"),
        ("max(a)", "not part"),
        ("max(*a)", "not part"),
        ("abs(a, b)", "not part"),
        ("exec(a)", "not part"),
        ("1 + 1", "no channel in it"),
        ("µ + 1", "has to stand in braces"),
        ("a + 1e999", "character 5: not part"),
        ("+".join("a" * 200), "nested more than 100 deep"),
        ("a" * 1001, "at most 1000"),
        ("(" * 400 + "a" + ")" * 400, "cannot be read"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(ExpressionError, match=complaint.replace("(", r"\(")):
        Expression(text)


@given(st.text(max_size=60) | st.text("ab1.+-*/(){}<>=! ,andornt", max_size=60))
@settings(deadline=None, max_examples=400)
def test_any_text_gives_an_expression_or_its_error(text: str) -> None:
    try:
        expression = Expression(text)
    except ExpressionError:
        return
    assert expression({name: np.zeros(3) for name in expression.names}).shape == (3,)
