"""Event archives: records of the input topics kept as Parquet, for the trainer and for other tools."""
