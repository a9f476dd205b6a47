"""The trainer: recorded events in, a published model version out."""

import os

# OpenMP reads this once, when torch loads it. A thread that waits for another one by spinning would hold a core that another
# process needs, and both would be several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
