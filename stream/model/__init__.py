"""The model as the worker sees it: its files, its text vectors and its calls."""
