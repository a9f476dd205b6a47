"""The trainer: recorded events in, a published model version out."""
