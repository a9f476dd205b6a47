"""Gates: each promise of docs/reliability.md, shown on real Apache Kafka while faults are made."""
