"""How good retrieval is, by what a repository's own history says."""
