"""Which addresses never leave this machine. Pure."""

import ipaddress


def is_loopback(server: str) -> bool:
    """Whether ``host:port`` stays on this machine."""
    host = server.strip().rpartition(":")[0].strip("[]") or server.strip()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
