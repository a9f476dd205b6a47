"""Tests; `tests.kafka_node` starts a real Kafka for them."""
