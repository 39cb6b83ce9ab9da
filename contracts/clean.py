"""Makes text from outside safe to show, log and compare, without changing what it says.

What people see and what machines read must be the same text: characters that show as nothing can
hide instructions from a reader, and bidirectional controls can reorder what is seen ("Trojan
Source", CVE-2021-42574). Such characters go; the visible ones stay.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Every kind of line end: Unicode Standard section 5.8, table 5-2.
_LINE_ENDS: Final = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")

# General category Zs other than the space itself, and U+2800, a Braille cell without dots.
_SPACES: Final = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000]")

# General category Cc without tab and line feed; Default_Ignorable_Code_Point and Bidi_Control
# (Unicode Character Database, DerivedCoreProperties.txt and PropList.txt, stable since 5.2 but for
# additions in reserved ranges listed here as wholes); interlinear annotation; noncharacters.
_INVISIBLE: Final = re.compile(
    "["
    "\x00-\x08\x0e-\x1f\x7f-\x9f"
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (65534, 65535))
    + "]"
)


def clean(text: str) -> str:
    """Remove what cannot be seen, settle line ends, spaces and Unicode form, and trim.

    Line ends become line feeds, other spaces become the plain space, tabs stay. Emoji sequences
    and Persian lose their joiners, which changes their look but not their words.

    Args:
        text: any text without surrogates, as strict UTF-8 decoding gives it.

    Returns:
        Text in Normalization Form C (Unicode Standard Annex 15), of which `clean` changes nothing.
    """
    if text.isascii() and text.isprintable():
        return text.strip(" ")
    text = _LINE_ENDS.sub("\n", text)
    text = _SPACES.sub(" ", text)
    text = _INVISIBLE.sub("", text)
    return unicodedata.normalize("NFC", text).strip(" \t\n")
