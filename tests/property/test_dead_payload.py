from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.errors import PoisonError
from streams.dead import decode_payload, encode_payload


@given(st.dictionaries(st.binary(), st.binary(), max_size=8))
@example({b"description": b"\xff\xfe"})
@example({b"base64:": b"base64:AAAA", b"\x00": b"", b"": b"\xed\xa0\x80"})
def test_any_fields_survive_the_round_trip(fields: dict[bytes, bytes]) -> None:
    payload = encode_payload(fields)
    assert list(decode_payload(payload).items()) == list(fields.items())
    assert all(isinstance(value, str) for value in json.loads(payload).values())


@given(st.text().filter(lambda text: not text.startswith("base64:")))
def test_text_stays_readable(text: str) -> None:
    payload = encode_payload({b"description": text.encode()})
    assert json.loads(payload) == {"description": text}


@pytest.mark.parametrize(
    "payload", ["", "[]", '{"a": 1}', '{"a": "base64:!"}', '{"a": "base64:A"}']
)
def test_a_broken_payload_is_poison(payload: str) -> None:
    with pytest.raises(PoisonError):
        decode_payload(payload)


@given(st.text())
def test_decoding_any_text_restores_or_is_poison(payload: str) -> None:
    try:
        fields = decode_payload(payload)
    except PoisonError:
        return
    assert isinstance(fields, dict)
