from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vectors.batching import MAX_ROWS, MAX_TOKENS, padded_width, plan

LIMIT = 256
lengths = st.lists(st.integers(2, LIMIT), max_size=300)


@given(lengths)
def test_every_text_is_in_exactly_one_batch(tokens: list[int]) -> None:
    planned = [position for _, positions in plan(tokens, LIMIT) for position in positions]
    assert sorted(planned) == list(range(len(tokens)))


@given(lengths)
def test_a_batch_is_as_wide_as_each_of_its_texts_would_be_alone(tokens: list[int]) -> None:
    for width, positions in plan(tokens, LIMIT):
        assert {padded_width(tokens[position], LIMIT) for position in positions} == {width}


@given(lengths)
def test_batches_stay_within_rows_and_tokens_and_come_in_few_shapes(tokens: list[int]) -> None:
    for width, positions in plan(tokens, LIMIT):
        rows = len(positions)
        assert rows <= MAX_ROWS
        assert rows * width <= MAX_TOKENS
        assert rows.bit_count() == 1


@given(st.integers(1, 512), st.sampled_from([128, 250, 256, 512]))
def test_the_width_holds_the_text_and_never_exceeds_the_model(tokens: int, limit: int) -> None:
    tokens = min(tokens, limit)
    assert tokens <= padded_width(tokens, limit) <= limit


def test_a_text_wider_than_the_budget_of_tokens_goes_alone() -> None:
    assert list(plan([4000, 4000], 8192)) == [(4000, [0]), (4000, [1])]
