"""Checks of what runs the service elsewhere: compose, Prometheus, Grafana."""
