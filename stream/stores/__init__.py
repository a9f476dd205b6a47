"""Key-value stores by partition, the core under both tables."""
