"""The contestants of the stream benchmark: each is a process that folds the same events and prints one result."""
