from __future__ import annotations

import sys
import unicodedata

import pytest

from contracts.clean import clean

ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\xad\u180e\u034f"
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_plain_text_is_the_same_object() -> None:
    text = "Fix the authentication bug"
    assert clean(text) is text


@pytest.mark.parametrize("char", ZERO_WIDTH + BIDI)
def test_invisible_character_goes(char: str) -> None:
    assert clean(f"a{char}b") == "ab"


def test_every_code_point_is_kept_or_replaced_by_what_is_kept() -> None:
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code <= 0xDFFF:
            continue
        left = clean(f"a{chr(code)}b")
        assert clean(left) == left
        assert not any(
            unicodedata.category(char) in {"Cc", "Zl", "Zp"} and char not in "\n\t" for char in left
        )


def test_letters_digits_marks_punctuation_and_symbols_stay() -> None:
    ignorable = {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0x180F}
    ignorable |= {*range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char)[0] in "LNMPS" and code not in ignorable:
            assert clean(f"a{char}b") == unicodedata.normalize("NFC", f"a{char}b")
