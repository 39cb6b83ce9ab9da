"""The indexer: file changes in, an index that says what the files say now out."""
