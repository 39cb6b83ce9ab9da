"""What travels between processes: messages, the rules they obey, and the tree of errors."""
