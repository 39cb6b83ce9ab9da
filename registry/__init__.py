"""Models on disk: immutable versions, checked before they are parsed, and what they serve as."""
