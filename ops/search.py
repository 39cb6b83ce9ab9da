"""`cortex search`: retrieval alone."""


def search() -> None:
    """TODO."""
