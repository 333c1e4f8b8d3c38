"""The grammar of filters, what each kind of field compares with, and what is said of a filter that means nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from many_runs import write_run

from engine import record
from mopo_tui.manager import Store
from mopo_tui.manager.filters import FIELDS, FilterError, ordered, select
from mopo_tui.manager.index import Listed, Values, listing
from mopo_tui.manager.rows import rows_of

Select = Callable[[str], set[str]]


@pytest.fixture
def listed(store: Store) -> list[Listed]:
    """ant-angle s0 (finished, λ 0.5), s1 (stopped); hopper s0 (queued, λ 0.75, tags), and a folder that is no run."""
    now = time.time()
    for number, ending, hours in ((0, "finished", 50.0), (1, "stopped", 2.0), (5, "queued", 0.5)):
        folder = write_run(store.root, number, ending, 3)
        about = record.read_json(folder / record.RUN) or {}
        record.write_json(folder / record.RUN, {**about, "created": now - 3600.0 * hours})
        if ending == "queued":
            record.write_json(folder / record.META, {"tags": ["base line", "x"], "name": "Two words"})
    (store.root / "photos").mkdir()
    return listing(store)


@pytest.fixture
def names(store: Store, listed: list[Listed]) -> Select:
    """The runs a filter holds for, as task and seed."""
    return lambda text: {
        f"{one.run.task[:3]}{one.run.seed}" if one.run.task else one.run.id
        for one in select(text, listed, Values(store))
    }


ALL = {"ant0", "ant1", "hop0", "photos"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("task=ant-angle", {"ant0", "ant1"}),
        ("task==ant-angle", {"ant0", "ant1"}),
        ("task!=ant-angle", {"hop0", "photos"}),
        ("task~ANT", {"ant0", "ant1"}),
        ("seed=0 and task=ant-angle or tag=x", {"ant0", "hop0"}),
        ("seed=0 and (task=ant-angle or tag=x)", {"ant0", "hop0"}),
        ("seed=1 and (task=ant-angle or tag=x)", {"ant1"}),
        ("not (task=ant-angle or tag=x)", {"photos"}),
        ("NOT seed=0 AND state!=unreadable", {"ant1"}),
        ("not not seed=1", {"ant1"}),
        ("state=stopped", {"ant1"}),
        ("state~ed", {"ant0", "ant1", "hop0"}),  # finished, stopped, queued
        ('tag="base line"', {"hop0"}),
        ("tag='base line' and tags!=y", {"hop0"}),
        ("tag~line", {"hop0"}),
        ('name="Two words"', {"hop0"}),
        ("name~TWO", {"hop0"}),
        ("group~'sweep 0'", {"ant0", "ant1"}),
        ("age>1d", {"ant0"}),
        ("age<3h and age>=1h", {"ant1"}),
        ("age<=90m and state=queued", {"hop0"}),
        ("done=100", {"ant0"}),
        ("progress<0.5 and progress>0", {"ant1"}),
        ("eta>4m", set()),  # a run that is over has none
        ("return>0", {"ant0", "ant1"}),
        ("score>0", set()),  # ant-angle has no scale, and hopper has not begun
        ("last>0", {"ant0", "ant1"}),
        ("score!=3", ALL),  # what is not there equals nothing
        ("step>=111580", {"ant0", "ant1"}),
        ("rollout.coefficient=0.5", {"ant0", "ant1"}),
        ("rollout.coefficient>0.5", {"hop0"}),
        ("dataset.source=ours", {"ant0", "ant1", "hop0"}),
        ("dynamics.spectral_norm=false", {"ant0", "ant1", "hop0"}),
        ("dynamics.hidden=200,200,200,200", {"ant0", "ant1", "hop0"}),
        ("policy/q>0", {"ant0", "ant1"}),
        ("problem~run", {"photos"}),
        ("id~-000005-", {"hop0"}),
        ("returncode=143", {"ant1"}),
    ],
)
def test_a_filter_holds_for(names: Select, text: str, expected: set[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "words", "caret"),
    [
        ("", "a field is missing", 0),
        ("scor>1", "did you mean 'score'", 0),
        ("score>80 and rollout.coeficient=1", "did you mean 'rollout.coefficient'", 13),
        ("score>80 and", "a field is missing", 12),
        ("score>80 task=x", "`and`, `or` or the end", 9),
        ("(score>80", "closing bracket", 9),
        ("score>80)", "`and`, `or` or the end", 8),
        ("score 80", "one of = != < <= > >= ~", 6),
        ("score>", "a value is missing", 6),
        ("score>high", "compared with a number", 6),
        ("score>nan", "compared with a number", 6),
        ("age<yesterday", "a time such as", 4),
        ("state=runing", "did you mean running?", 6),
        ("state>running", "has no order", 5),
        ("tag<a", "has no order", 3),
        ("name='x", "not closed", 5),
        ("name=x & seed=1", "`and`, `or`", 7),
        ("x!y", "means nothing", 1),
        ("no/such/metric>1", "no field", 0),
        ("(" * 60 + "seed=1", "too many brackets", 50),
        ("not " * 5000 + "seed=1", "too many brackets", 200),
    ],
)
def test_a_wrong_filter_is_shown_with_a_caret(names: Select, text: str, words: str, caret: int) -> None:
    with pytest.raises(FilterError) as caught:
        names(text)
    message, line, mark = str(caught.value).split("\n")
    assert words in message
    assert line == f"  {text}"
    assert mark == "  " + " " * caret + "^"


def test_what_a_filter_says_does_not_steer_the_terminal(names: Select) -> None:
    with pytest.raises(FilterError) as caught:
        names("seed=1 \x1b[2J\nseed")
    assert all(c.isprintable() or c == "\n" for c in str(caught.value))
    assert str(caught.value).count("\n") == 2


def test_a_key_or_metric_that_only_a_run_knows_counts(store: Store, listed: list[Listed]) -> None:
    folder = next(one.run.folder for one in listed if one.run.state.value == "finished")
    record.append_row(folder / record.METRICS, {"step": 9, "m": {"mine/own": 5.0}})
    with open(folder / record.CONFIG, "a") as f:
        f.write("\n[newer]\nkey = 3\n")
    for text in ("mine/own=5", "newer.key=3"):
        assert [one.run.folder for one in select(text, listing(store), Values(store))] == [folder]


def test_every_field_can_be_asked_of_every_run(store: Store, listed: list[Listed]) -> None:
    values = Values(store)
    for field in FIELDS.values():
        for one in listed:
            field.get(one, values)


def test_the_clock_set_back_makes_nobody_younger_than_now(store: Store) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    about = record.read_json(folder / record.RUN) or {}
    record.write_json(folder / record.RUN, {**about, "created": time.time() + 3600.0})
    assert len(select("age>=0s and age<1s", listing(store), Values(store))) == 1


def test_orders_put_the_best_first_and_what_has_none_last(store: Store, listed: list[Listed]) -> None:
    rows = rows_of(listed, listed, opened=True)
    values = Values(store)

    def by(name: str, *, reverse: bool = False) -> list[str]:
        return [
            f"{row.newest.task[:3]}{row.newest.seed}" if row.newest.task else row.newest.id
            for row in ordered(rows, name, listed, values, reverse=reverse)
        ]

    for name in ("policy/q", "policy/critic_loss", "return"):
        assert set(by(name)[:2]) == {"ant0", "ant1"}
        assert by(name, reverse=True)[:2] == by(name)[1::-1]
        assert by(name)[2:] == by(name, reverse=True)[2:]
    # The critic's loss is better when it is lower, a return when it is higher; in this store they are the same numbers.
    assert by("policy/critic_loss")[:2] == by("return")[1::-1]
    assert by("age")[1:] == ["hop0", "ant1", "ant0"]  # the folder that is no run was made just now
    assert by("rollout.coefficient")[0] == "hop0"
    assert by("name") == ["photos", "hop0", "ant0", "ant1"]
    with pytest.raises(FilterError, match=r"--sort-by scor: no such field; did you mean 'score'\?"):
        by("scor")
