from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts.errors import FatalError
from learning.workshop import PACKAGED, open_workshop

if TYPE_CHECKING:
    from pathlib import Path


def test_a_workshop_is_as_the_environment_says(tmp_path: Path) -> None:
    masters = tmp_path / "masters.toml"
    masters.write_text(
        'fallback = "one"\n'
        '[[master]]\nname = "one"\ndescription = "x"\n[[master]]\nname = "two"\ndescription = "y"\n'
    )
    rules = tmp_path / "rules.toml"
    rules.write_text('temperature = 1.0\n[[rule]]\nmaster = "two"\nweight = 1\nwords = ["test"]\n')
    environ = {
        "CORTEX_DATA_DIR": str(tmp_path / "data"),
        "CORTEX_MASTERS": str(masters),
        "CORTEX_RULES": str(rules),
        "LEARNER_POLICY": "thompson",
    }
    with open_workshop(environ) as workshop:
        assert workshop.masters.names == ("one", "two")
        assert workshop.rules.score("a test").selected == "two"
        assert workshop.registry.root == tmp_path / "data" / "models"
        assert workshop.settings.policy == "thompson"
        assert [*workshop.reported()] == []
        first = workshop.encoder.encode(["a text"])
    with open_workshop(environ | {"LEARNER_POLICY": ""}) as workshop:
        assert workshop.settings.policy == "even"
        hits = workshop.encoder.hits  # type: ignore[attr-defined] # a CachedEncoder
        assert (workshop.encoder.encode(["a text"]) == first).all()
        assert workshop.encoder.hits == hits + 1  # type: ignore[attr-defined] # of the last night


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"LEARNER_POLICY": "greedy"}, "LEARNER_POLICY"),
        ({"MODEL_PATH": str(PACKAGED)}, "a single model"),
        ({"CORTEX_MASTERS": "no/such/file"}, "cannot read no/such/file"),
    ],
)
def test_what_no_round_could_work_with_is_refused(
    tmp_path: Path, environ: dict[str, str], reason: str
) -> None:
    given = {"CORTEX_DATA_DIR": str(tmp_path)} | environ
    with pytest.raises(FatalError, match=reason), open_workshop(given):
        pass
