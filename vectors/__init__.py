"""Text to vectors to context: encoder, collections of chunks, snapshots, delta log, search."""
