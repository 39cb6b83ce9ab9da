from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from rq.job import validate_job_id

from ops.relay import job_id, task_id_of

TASK_IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)


@given(TASK_IDS)
@example("_x")
@example("_x_2F")
@example("a:b")
def test_every_task_id_has_a_valid_job_id_of_its_own(task_id: str) -> None:
    validate_job_id(job_id(task_id))
    assert task_id_of(job_id(task_id)) == task_id


@given(st.from_regex(r"[A-Za-z0-9-][A-Za-z0-9_-]{0,127}", fullmatch=True))
def test_a_plain_id_stays_as_it_is(task_id: str) -> None:
    assert job_id(task_id) == task_id
