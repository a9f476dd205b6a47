"""What runs the service elsewhere; nothing of the service imports it."""
