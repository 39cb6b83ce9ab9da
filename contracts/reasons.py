"""Why an entry became a dead letter: stable codes, safe to alert and group on.

A code never changes its meaning; a new cause gets a new code.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Every message
MISSING_FIELD: Final = "missing_field"
INVALID_UTF8: Final = "invalid_utf8"
ENTRY_TOO_LARGE: Final = "entry_too_large"
FIELD_TOO_LONG: Final = "field_too_long"
INVALID_TASK_ID: Final = "invalid_task_id"

# Tasks
DESCRIPTION_EMPTY: Final = "description_empty"
DESCRIPTION_TOO_LONG: Final = "description_too_long"
METADATA_INVALID_JSON: Final = "metadata_invalid_json"
METADATA_NOT_OBJECT: Final = "metadata_not_object"
METADATA_TOO_LARGE: Final = "metadata_too_large"
METADATA_TOO_DEEP: Final = "metadata_too_deep"

# Numbers, choices and structure
INVALID_NUMBER: Final = "invalid_number"
NUMBER_OUT_OF_RANGE: Final = "number_out_of_range"
INVALID_VALUE: Final = "invalid_value"
INVALID_NAME: Final = "invalid_name"
INVALID_PATH: Final = "invalid_path"
INVALID_JSON: Final = "invalid_json"
INVALID_SHAPE: Final = "invalid_shape"

# Delivery, set by whoever handles an entry rather than by parsing it
TOO_MANY_DELIVERIES: Final = "too_many_deliveries"
UNHANDLED_ERROR: Final = "unhandled_error"

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        MISSING_FIELD: "A field without which the message means nothing is absent.",
        INVALID_UTF8: "A field's name or value is not UTF-8 (RFC 3629).",
        ENTRY_TOO_LARGE: "The entry carries too many or too large fields.",
        FIELD_TOO_LONG: "A text field is longer than its limit.",
        INVALID_TASK_ID: "The task id is not 1-128 visible ASCII characters.",
        DESCRIPTION_EMPTY: "Nothing visible is left of the description.",
        DESCRIPTION_TOO_LONG: "The description is longer than 8,192 characters.",
        METADATA_INVALID_JSON: "The metadata is not JSON (RFC 8259) that every reader accepts.",
        METADATA_NOT_OBJECT: "The metadata is JSON, but not an object.",
        METADATA_TOO_LARGE: "The metadata is larger than 16 KiB.",
        METADATA_TOO_DEEP: "The metadata is nested more than 16 levels deep.",
        INVALID_NUMBER: "A numeric field is not a decimal number.",
        NUMBER_OUT_OF_RANGE: "A number lies outside its range, or beyond a 64-bit float's.",
        INVALID_VALUE: "A field holds none of the values it may hold.",
        INVALID_NAME: "The name of a master, collection, experiment or model is not a plain name.",
        INVALID_PATH: "A path is not relative, slash-separated and free of `..`.",
        INVALID_JSON: "A JSON field or document is not JSON (RFC 8259), or nested too deep.",
        INVALID_SHAPE: "A JSON document lacks fields, or has fields of the wrong type.",
        TOO_MANY_DELIVERIES: "Handling it failed or killed its worker on every delivery.",
        UNHANDLED_ERROR: "Handling it raised an error nobody foresaw.",
    }
)
