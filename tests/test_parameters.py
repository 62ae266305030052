"""Parameters that a reader gives: their texts, their types, and what is refused. The time that a run has left."""

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from riemlib.companion import build, parameters, remaining

CELL = """\
seeds: int = 4  # networks
rate: float = 0.1  # of Adam
turns: list = [0.75, 1.0]  # of a spiral
sizes: list = [30, 100]  # of a minibatch
nothing: list = []  # of any type
exact: bool = False  # in float64
device: str = "cpu"  # where they live
"""


def notebook(cell: str = CELL):
    return new_notebook(
        cells=[new_code_cell(cell, metadata={"tags": ["parameters"]})],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("seeds=7", 7),
        ("seeds = 7", 7),
        ("rate=0.5", 0.5),
        ("rate=1e-3", 1e-3),
        ("rate=1", 1.0),
        ("turns=[1, 0.5]", [1.0, 0.5]),
        ("sizes=[10]", [10]),
        ("sizes=[]", []),
        ("nothing=['a', 1]", ["a", 1]),
        ("exact=True", True),
        ("device=cuda", "cuda"),
        ("device='cuda:1'", "cuda:1"),
        ("device=0", "0"),
        ("device=a=b", "a=b"),
    ],
)
def test_a_value_is_a_literal_or_a_plain_string_of_the_type_in_the_notebook(setting, expected):
    ((_, value),) = parameters.given([setting], {"01_first": notebook()}).items()
    assert value == expected and type(value) is type(expected)
    assert not isinstance(value, list) or [type(entry) for entry in value] == [type(entry) for entry in expected]


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("seeds=7.0", "parameter seeds of 01_first is '7.0'; a value of type int, such as 4, is needed"),
        ("seeds=many", "type int"),
        ("seeds=True", "type int"),
        ("seeds=", "type int"),
        ("rate=True", "type float"),
        ("rate=[1.0]", "type float"),
        ("exact=1", "type bool"),
        ("sizes=30", r"type list, such as \[30, 100\]"),
        ("sizes=(30, 100)", "type list"),
        ("sizes=[30.0]", "type list"),
        ("turns=['a']", "type list"),
        ("seeds", "given as 'seeds'; name=value is needed"),
        ("=7", "name=value is needed"),
    ],
)
def test_a_value_of_another_type_is_refused(setting, word):
    with pytest.raises(ValueError, match=word):
        parameters.given([setting], {"01_first": notebook()})


def test_several_parameters_and_several_notebooks():
    two = {"01_first": notebook(), "02_second": notebook("seeds: int = 9  # others\n")}
    assert parameters.given([], two) == {} and parameters.given(["seeds=1"], two) == {"seeds": 1}
    assert parameters.given(["seeds=1", "device=x"], {"01_first": notebook()}) == {"seeds": 1, "device": "x"}
    with pytest.raises(ValueError, match="02_second has no parameter rate; its parameters are\n  seeds: int = 9  others$"):
        parameters.given(["rate=1"], two)
    with pytest.raises(ValueError, match="no parameter a; its parameters are\n  none"):
        parameters.given(["a=1"], {"00_overview": new_notebook()})
    with pytest.raises(ValueError, match="seeds is given twice"):
        parameters.given(["seeds=1", "seeds=1"], two)


@pytest.mark.parametrize("name", build.names(build.ROOT))
def test_every_default_of_the_notebooks_may_be_given_as_it_stands(name):
    nb = build.source(build.ROOT, name)
    for each, about in parameters.known(nb).items():
        assert about["help"], each
        assert parameters.given([f"{each}={about['default']}"], {name: nb}) == {each: parameters.literal(about["default"])}


# The time left.


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(remaining.time, "perf_counter", lambda: now[0])
    return now


def test_the_time_left_shrinks_as_notebooks_run_and_end(clock):
    left = remaining.Left({"a": 100.0, "b": 100.0, "c": 100.0}, 1)
    assert left.seconds() == 300 and left.text() == "about 5 min left" and left.whole("last") == "about 5 min, as the last run took"
    left.began(["a"])
    clock[0] += 40
    left.began(["a"])  # seen again
    assert left.seconds() == 260
    clock[0] += 160
    assert left.seconds() == 200  # it takes longer than before
    left.ended("a", 200.0)
    assert left.seconds() == 400  # so this machine takes twice as long
    left.ended("b", 200.0)
    left.ended("c", 200.0)
    assert left.seconds() == 0 and left.text() == "less than a minute left"


def test_several_at_a_time_share_the_time_but_none_is_split(clock):
    assert remaining.Left({"a": 100.0, "b": 100.0, "c": 100.0}, 2).seconds() == 150
    assert remaining.Left({"a": 280.0, "b": 10.0, "c": 10.0}, 2).seconds() == 280


def test_a_notebook_whose_time_is_not_known_leaves_the_time_unknown_until_it_ended(clock):
    left = remaining.Left({"a": None, "b": 60.0}, 1)
    assert left.seconds() is None and left.text() == "" and "not known" in left.whole("last")
    left.ended("a", 5.0)
    assert left.seconds() == 60
