"""Erasing a user: what is left to recognise stragglers by, and the command that asks for it and proves it."""
