"""Models on disk: immutable versions, checked before they are parsed, and the names they serve under."""
