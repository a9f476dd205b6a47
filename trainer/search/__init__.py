"""Hyper-parameter search: optuna proposes settings, the validation month judges them, the test months are never read."""
