"""The Grafana dashboard, generated: ``rows`` says what is shown, ``dashboard`` writes it down for Grafana."""
