"""Which behaviours are behind a score, and whether that is so: attributions held against leaving each behaviour out."""
