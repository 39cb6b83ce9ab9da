from __future__ import annotations

from pathlib import Path

import pytest

import router
from contracts.errors import FatalError
from router.masters import Master, Masters

ONE = '[[master]]\nname = "a"\ndescription = "takes all"\n'


def shipped() -> str:
    return (Path(router.__file__).parent / "masters.toml").read_text("utf-8")


def test_the_shipped_file_has_the_five_masters() -> None:
    masters = Masters.parse(shipped())
    assert set(masters.names) == {
        "development-master",
        "security-master",
        "inventory-master",
        "cicd-master",
        "coordinator-master",
    }
    assert masters.fallback == "coordinator-master"
    assert all(master.description and master.examples for master in masters.all)


def test_what_a_master_leaves_out_has_defaults() -> None:
    (master,) = Masters.parse(f'fallback = "a"\n{ONE}').all
    assert master == Master(name="a", description="takes all")
    assert master.sinks == ("stream",)
    assert master.collections == ("code",)


def test_more_masters_can_be_configured() -> None:
    extra = '[[master]]\nname = "design-master"\ndescription = "draws"\nsinks = ["stream", "rq"]\n'
    masters = Masters.parse(shipped() + extra)
    assert len(masters.all) == 6
    assert masters.all[-1].sinks == ("stream", "rq")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("fallback =", "masters: "),
        (ONE, "missing required field `fallback`"),
        ('fallback = "a"', "missing required field `master`"),
        ('fallback = "a"\nmaster = []', "length >= 1"),
        (f'fallback = "b"\n{ONE}', "fallback 'b' is none of a"),
        (f'fallback = "a"\n{ONE}{ONE}', "a stands in the file more than once"),
        (f'fallback = "a"\ncolour = "red"\n{ONE}', "unknown field `colour`"),
        (f'fallback = "a"\n{ONE}colour = "red"', "unknown field `colour`"),
        ('fallback = "a"\n[[master]]\nname = "a"', "missing required field `description`"),
        (f'fallback = "a"\n{ONE}sinks = ["fax"]', "'fax'"),
        (f'fallback = "a"\n{ONE}sinks = ["rq"]', "must have the sink 'stream'"),
        (f'fallback = "a"\n{ONE}collections = []', "length >= 1"),
        ('fallback = "a"\n[[master]]\nname = "A b"\ndescription = "x"', "regex"),
        ('fallback = "a"\n[[master]]\nname = "a\\n"\ndescription = "x"', "regex"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(FatalError, match="masters: ") as caught:
        Masters.parse(text)
    assert complaint in str(caught.value)
