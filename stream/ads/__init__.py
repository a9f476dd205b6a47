"""Ad decisions: campaigns in, one explained decision out. Pure; the topic's reader is stream/compacted.py."""
