"""Which runs somebody means: `score>80 and (algorithm=mopo or tag=baseline) and not state=failed`.

    filter     = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | "(" filter ")" | field operator value
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~"        (~: contains, whatever the case)

A field is one of a run (`FIELDS`), a configuration key such as rollout.coefficient, or a metric such as policy/q, which stands for
its last value. What a run does not have equals nothing: every comparison with it fails but !=.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from engine import record
from mopo_tui.manager.index import Listed, Values
from mopo_tui.manager.rows import Row, written
from mopo_tui.manager.run import number_of
from mopo_tui.manager.state import RunState
from mopo_tui.manager.store import StoreError

Getter = Callable[[Listed, Values], Any]
Test = Callable[[Listed, Values], bool]

_DEPTH = 50  # brackets and nots within each other
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN = re.compile(
    r"""\s*(?: (?P<bracket>[()]) | (?P<operator>!=|<=|>=|==|[=<>~]) | "(?P<double>[^"]*)" | '(?P<single>[^']*)'
    | (?P<word>[^\s()=!<>~"']+) )""",
    re.VERBOSE,
)


class FilterError(StoreError):
    """A filter or an order that means nothing; the message shows where."""


@dataclass(frozen=True)
class Field:
    """What can be asked of a run.

    Attributes:
        kind: "text", "texts", "number", "seconds", "state", or "any" where runs decide.
        direction: −1 where lower is better, else +1.
    """

    name: str
    kind: str
    get: Getter
    direction: int = 1


def _of_run(name: str, kind: str, attribute: str = "", direction: int = 1) -> Field:
    attribute = attribute or name
    return Field(name, kind, lambda listed, _: getattr(listed.run, attribute), direction)


def _of_summary(name: str) -> Field:
    return Field(name, "number", lambda listed, _: number_of(listed.run.summary, name))


def _shown(name: str, score: str, raw: str) -> Field:
    """What the column of that name shows: the score where the run has one, else the return."""

    def get(listed: Listed, _: Values) -> Any:
        value = getattr(listed.run, score)
        return getattr(listed.run, raw) if value is None else value

    return Field(name, "number", get)


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        *(_of_run(name, "text") for name in ("id", "kind", "job", "name", "group", "note", "owner")),
        *(_of_run(name, "text") for name in ("task", "algorithm", "preset", "stage", "reason", "problem")),
        _of_run("tag", "texts", "tags"),
        _of_run("tags", "texts"),
        _of_run("state", "state"),
        *(_of_run(name, "number") for name in ("seed", "attempt", "returncode", "created", "progress")),
        Field("done", "number", lambda listed, _: 100.0 * listed.run.progress),
        _of_run("eta", "seconds", "eta_s", -1),
        _of_run("eta_s", "seconds", direction=-1),
        Field("age", "seconds", lambda listed, _: max(0.0, time.time() - listed.run.created), -1),
        _of_run("score", "number", "score_last"),
        _of_run("return", "number", "return_last"),
        *(_of_run(name, "number") for name in ("score_last", "score_best", "return_last", "return_best")),
        _shown("last", "score_last", "return_last"),
        _shown("best", "score_best", "return_best"),
        *(_of_summary(name) for name in ("step", "update")),
        Field("setting", "text", lambda listed, _: listed.setting),
    )
}


def find_field(name: str, among: Sequence[Listed], values: Values) -> Field | None:
    """The field of that name: one of a run, a configuration key or a metric that this version knows or some run has."""
    if name in FIELDS:
        return FIELDS[name]
    if "/" in name:
        known = record.metric(name)
        if known is None and not any(name in values.last(listed.run) for listed in among):
            return None
        direction = -1 if known is not None and known.direction < 0 else 1
        return Field(name, "number", lambda listed, values: number_of(values.last(listed.run), name), direction)
    if name in _known_keys() or any(name in values.settings(listed.run) for listed in among):
        return Field(name, "any", lambda listed, values: values.settings(listed.run).get(name))
    return None


def hint(name: str) -> str:
    """ "; did you mean …?" for a name that is no field, or where to look."""
    known = [*FIELDS, *_known_keys(), *(metric.name for metric in record.METRIC_TABLE)]
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ": a field of a run, a configuration key or a metric"


def _known_keys() -> list[str]:
    from engine.config import CONFIG_CLASSES, fields_of

    return list(dict.fromkeys(key for cls in CONFIG_CLASSES.values() for key in fields_of(cls)))


def select(text: str, among: Sequence[Listed], values: Values) -> list[Listed]:
    """Those of `among` that the filter holds for, in their order.

    Raises:
        FilterError: with the filter and a caret under what is wrong with it.
    """
    test = _Parser(text, among, values).whole()
    return [listed for listed in among if test(listed, values)]


def ordered(rows: Sequence[Row], name: str, among: Sequence[Listed], values: Values, *, reverse: bool) -> list[Row]:
    """The rows by a field: numbers best or largest first, by their mean over the row's runs; texts in their order. Rows without a
    value stand last, `reverse` or not.

    Raises:
        FilterError: no field, configuration key or metric is called so.
    """
    field = find_field(name, among, values)
    if field is None:
        raise FilterError(f"--sort-by {name}: no such field{hint(name)}")
    keyed = []
    without = []
    for row in rows:
        found = [field.get(Listed(run, row.setting), values) for run in row.runs]
        numbers = [v for v in found if isinstance(v, (int, float)) and not isinstance(v, bool)]
        texts = [written(v) for v in found if v is not None]
        if numbers:
            keyed.append(((0, -field.direction * math.fsum(numbers) / len(numbers), ""), row))
        elif texts:
            keyed.append(((1, 0.0, texts[0]), row))
        else:
            without.append(row)
    keyed.sort(key=lambda item: item[0], reverse=reverse)
    return [row for _, row in keyed] + without


# --- reading a filter -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Token:
    kind: str  # "bracket", "operator", "word", "quoted" or "end"
    text: str
    at: int


class _Parser:
    """Recursive descent over the grammar above."""

    def __init__(self, text: str, among: Sequence[Listed], values: Values) -> None:
        self._text, self._among, self._values = text, among, values
        self._tokens = list(self._split())
        self._next = 0
        self._deep = 0

    def whole(self) -> Test:
        test = self._any_of()
        token = self._tokens[self._next]
        if token.kind != "end":
            self._refuse(token, "`and`, `or` or the end is missing before this")
        return test

    def _split(self) -> Iterator[_Token]:
        at = 0
        while self._text[at:].strip():
            found = _TOKEN.match(self._text, at)
            if found is None:
                start = at + len(self._text[at:]) - len(self._text[at:].lstrip())
                quoted = self._text[start] in "\"'"
                self._refuse(_Token("", "", start), "this quote is not closed" if quoted else "this means nothing here")
            kind = str(found.lastgroup)
            content = str(found[kind])
            at = found.end()
            quoted = kind in ("double", "single")
            yield _Token("quoted" if quoted else kind, content, at - len(content) - 2 * quoted)
        yield _Token("end", "", len(self._text.rstrip()))

    def _refuse(self, token: _Token, why: str) -> NoReturn:
        # Control characters of the command line would move the caret, or the terminal.
        line = "".join(c if c.isprintable() else " " for c in self._text)
        raise FilterError(f"--filter: {why}\n  {line}\n  {' ' * token.at}^")

    def _take(self, *words: str) -> bool:
        """Step over a keyword or a bracket if it comes next."""
        token = self._tokens[self._next]
        if token.kind in ("word", "bracket") and token.text.lower() in words:
            self._next += 1
            return True
        return False

    def _any_of(self) -> Test:
        tests = [self._all_of()]
        while self._take("or"):
            tests.append(self._all_of())
        return tests[0] if len(tests) == 1 else lambda listed, values: any(test(listed, values) for test in tests)

    def _all_of(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda listed, values: all(test(listed, values) for test in tests)

    def _one(self) -> Test:
        token = self._tokens[self._next]
        self._deep += 1
        if self._deep > _DEPTH:
            self._refuse(token, "too many brackets within each other")
        try:
            if self._take("not"):
                test = self._one()
                return lambda listed, values: not test(listed, values)
            if self._take("("):
                test = self._any_of()
                if not self._take(")"):
                    self._refuse(self._tokens[self._next], "a closing bracket is missing here")
                return test
            return self._comparison()
        finally:
            self._deep -= 1

    def _comparison(self) -> Test:
        name, sign, value = (self._tokens[min(self._next + i, len(self._tokens) - 1)] for i in range(3))
        if name.kind != "word" or name.text.lower() in ("and", "or"):
            self._refuse(name, "a field is missing here, such as score, task or rollout.coefficient")
        field = find_field(name.text, self._among, self._values)
        if field is None:
            self._refuse(name, f"no field {name.text!r}{hint(name.text)}")
        if sign.kind != "operator":
            self._refuse(sign, f"one of = != < <= > >= ~ is missing after {name.text}")
        if value.kind not in ("word", "quoted"):
            self._refuse(value, f"a value is missing after {name.text} {sign.text}")
        self._next += 3
        return self._test(field, sign, value)

    def _test(self, field: Field, sign: _Token, value: _Token) -> Test:
        compare = "=" if sign.text == "==" else sign.text
        number = _number(value.text, field.kind)
        if field.kind in ("number", "seconds") and compare != "~" and number is None:
            what = "a number" if field.kind == "number" else "a time such as 90s, 30m, 2h or 3d"
            self._refuse(value, f"{field.name} is compared with {what}")
        if field.kind in ("state", "texts") and compare in _ORDER:
            self._refuse(sign, f"{field.name} has no order: use = != or ~")
        states = [state.value for state in RunState]
        if field.kind == "state" and compare != "~" and value.text not in states:
            close = difflib.get_close_matches(value.text, states, n=1)
            self._refuse(value, f"no such state; {f'did you mean {close[0]}?' if close else ', '.join(states)}")
        get, text = field.get, value.text
        return lambda listed, values: _holds(get(listed, values), compare, text, number)


def _number(text: str, kind: str) -> float | None:
    """A literal as a number, in seconds where the field is a time; None where it is none."""
    unit = _UNITS.get(text[-1:], 0.0) if kind == "seconds" else 0.0
    try:
        value = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _holds(value: Any, compare: str, text: str, number: float | None) -> bool:
    """Whether a run's value compares so with the literal `text`, which is `number` where it is one."""
    if compare == "!=":
        return not _holds(value, "=", text, number)
    if value is None:
        return False
    if isinstance(value, (list, tuple)):
        each = any(_holds(one, compare, text, number) for one in value)
        return each or (compare == "=" and text.replace(" ", "").strip("[]") == written(value))
    if compare == "~":
        return text.casefold() in written(value).casefold()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if number is None:
            return False
        return value == number if compare == "=" else _ORDER[compare](value, number)
    if compare == "=":
        return written(value) == text
    return isinstance(value, str) and _ORDER[compare](value, text)
