"""Redis as a queue: connect, claim, read, renew, settle, bury, tidy."""
