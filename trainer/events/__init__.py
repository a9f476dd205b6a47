"""Any shop's events: mapping files, imports, and archives read back in the order in which a worker would get them."""
