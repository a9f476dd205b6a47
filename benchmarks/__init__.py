"""Speed, as commands that print their table and write their figures with ``--json FILE``."""
