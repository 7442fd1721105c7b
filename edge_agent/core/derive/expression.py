"""Expressions over the channels of an asset: `flow * {head 1} / max(power, 0.1)`, `speed < 100 and load > 0`.

The grammar is a part of Python's, read with Python's parser and then checked node by node against the few that are
known here; nothing is ever executed as Python. A missing value is NaN: what is computed from it is missing, and so is
what has no finite result (a division by zero, the root of a negative number). A comparison gives 1 or 0; `and`, `or`
and `not` follow Kleene's logic of three values, so that `a > 1 or b > 1` holds when a does, though b is missing.
"""

import ast
import re
from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Term = Callable[[Mapping[str, Floats]], Floats]

MAX_LENGTH = 1000
MAX_DEPTH = 100
_QUOTED = re.compile(r"\{([^{}]*)\}")
_MARK = "channel_in_braces_"  # what stands for a quoted name while Python's parser reads

_OPERATORS: dict[type[ast.operator], Callable[[Floats, Floats], Floats]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Floats, Floats], NDArray[np.bool_]]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_OF_ONE: dict[str, Callable[[Floats], Floats]] = {"abs": np.abs, "sqrt": np.sqrt, "log": np.log, "exp": np.exp}
_OF_SEVERAL: dict[str, Callable[[Floats, Floats], Floats]] = {"min": np.minimum, "max": np.maximum}
_ALLOWED = (
    "numbers, channel names ({in braces} where one is no identifier), + - * /, parentheses, "
    "abs, sqrt, log, exp, min, max, comparisons, and, or, not"
)


class ExpressionError(ValueError):
    """The text is no expression; the message says where, and what is allowed."""


class Expression:
    """A parsed expression. `names` are the channels it needs, in order of appearance."""

    def __init__(self, text: str) -> None:
        """Raises ExpressionError."""
        self.text = text
        self.names: list[str] = []
        self._quoted: dict[str, str] = {}  # mark -> name
        if len(text) > MAX_LENGTH:
            msg = f"an expression of {len(text)} characters: at most {MAX_LENGTH} are taken"
            raise ExpressionError(msg)
        if _MARK in text:
            msg = f"{_MARK!r} cannot be part of an expression"
            raise ExpressionError(msg)
        marked = _QUOTED.sub(self._mark, re.sub(r"\s", " ", text))
        self._plain = marked.lstrip()
        self._indent = len(marked) - len(self._plain)
        if "#" in self._plain:
            raise self._refused("not part of the language", self._plain.index("#"))
        try:
            tree = ast.parse(self._plain, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            # Python's own words would speak of what is no part of this grammar.
            raise self._refused("cannot be read", (getattr(error, "offset", None) or 1) - 1) from error
        self._term = self._compiled(tree.body, 0)
        if not self.names:
            raise self._refused("no channel in it", 0)

    def __call__(self, values: Mapping[str, Floats]) -> Floats:
        """values: [n] of each name, NaN = missing. Returns float64 [n], NaN = missing; never infinite."""
        with np.errstate(all="ignore"):
            return self._term(values)

    def _mark(self, found: re.Match[str]) -> str:
        mark = f"{_MARK}{len(self._quoted)}_"
        self._quoted[mark] = found[1]
        return mark

    def _refused(self, what: str, offset: int) -> ExpressionError:
        """offset: from 0, in the text with marks."""
        before = self._plain[:offset]
        for mark, name in self._quoted.items():
            before = before.replace(mark, f"{{{name}}}")
        position = self._indent + len(before) + 1
        return ExpressionError(f"{self.text!r}, character {position}: {what}; allowed are {_ALLOWED}")

    def _compiled(self, node: ast.expr, depth: int) -> Term:  # noqa: C901, PLR0911, PLR0912 - a case a construct
        offset = len(self._plain.encode()[: node.col_offset].decode(errors="ignore"))
        if depth > MAX_DEPTH:
            raise self._refused(f"nested more than {MAX_DEPTH} deep", offset)

        def inner(child: ast.expr) -> Term:
            return self._compiled(child, depth + 1)

        match node:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() | float() as number) if abs(number) <= np.finfo(np.float64).max:
                constant = np.array(float(number))
                return lambda _values: constant
            case ast.Name(id=name):
                return self._channel(name, offset)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _unary(np.negative, inner(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return inner(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return _unary(_negation, inner(operand))
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
                return _binary(_OPERATORS[type(operator)], inner(left), inner(right))
            case ast.BoolOp(op=ast.And(), values=several):
                return reduce(lambda a, b: _binary(_both, a, b), map(inner, several))
            case ast.BoolOp(op=ast.Or(), values=several):
                return reduce(lambda a, b: _binary(_either, a, b), map(inner, several))
            case ast.Compare(left=first, ops=kinds, comparators=others) if all(type(k) in _COMPARISONS for k in kinds):
                terms = [inner(first), *map(inner, others)]
                pairs = [_compared(_COMPARISONS[type(k)], *terms[i : i + 2]) for i, k in enumerate(kinds)]
                return reduce(lambda a, b: _binary(_both, a, b), pairs)
            case ast.Call(func=ast.Name(id=name), args=[one], keywords=[]) if name in _OF_ONE:
                return _unary(_OF_ONE[name], inner(one))
            case ast.Call(func=ast.Name(id=name), args=[_, _, *_], keywords=[]) if name in _OF_SEVERAL:
                function = _OF_SEVERAL[name]
                return reduce(lambda a, b: _binary(function, a, b), map(inner, node.args))
            case _:
                pass
        raise self._refused("not part of the language", offset)

    def _channel(self, name: str, offset: int) -> Term:
        if name in self._quoted:
            name = self._quoted[name]
        elif _MARK in name:
            raise self._refused("braces and letters side by side", offset)
        elif not name.isascii():  # Python takes some letters for others
            raise self._refused(f"the name {name!r} has to stand in braces", offset)
        if not name:
            raise self._refused("the braces are empty", offset)
        if name not in self.names:
            self.names.append(name)
        return lambda values: values[name]


def _finite(x: Floats) -> Floats:
    return np.where(np.isfinite(x), x, np.nan)


def _unary(function: Callable[[Floats], Floats], a: Term) -> Term:
    return lambda values: _finite(function(a(values)))


def _binary(function: Callable[[Floats, Floats], Floats], a: Term, b: Term) -> Term:
    return lambda values: _finite(function(a(values), b(values)))


def _compared(function: Callable[[Floats, Floats], NDArray[np.bool_]], a: Term, b: Term) -> Term:
    def compare(x: Floats, y: Floats) -> Floats:
        return np.where(np.isnan(x) | np.isnan(y), np.nan, function(x, y))

    return _binary(compare, a, b)


def _negation(a: Floats) -> Floats:
    return np.where(np.isnan(a), np.nan, a == 0)


def _both(a: Floats, b: Floats) -> Floats:
    unknown = np.isnan(a) | np.isnan(b)
    return np.where((a == 0) | (b == 0), 0.0, np.where(unknown, np.nan, 1.0))


def _either(a: Floats, b: Floats) -> Floats:
    unknown = np.isnan(a) | np.isnan(b)
    true = (a != 0) & ~np.isnan(a) | (b != 0) & ~np.isnan(b)
    return np.where(true, 1.0, np.where(unknown, np.nan, 0.0))
