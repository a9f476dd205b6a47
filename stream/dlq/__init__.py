"""Dead letters as a tool: ``interestflow dlq list|why|stats|replay|purge``."""
