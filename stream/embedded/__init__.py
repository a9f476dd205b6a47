"""Real servers that come from pip wheels: what `make demo` and the tests start on loopback."""
