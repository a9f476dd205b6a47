"""What the dashboard shows, from what users wait for down to what explains it."""

from typing import Final

from deploy.grafana.rows_flow import FLOW, REJECTS, SERVICE_LEVEL
from deploy.grafana.rows_model import CHALLENGER, MODEL, TRITON
from deploy.grafana.rows_state import ADS, STATE

ROWS: Final = (SERVICE_LEVEL, FLOW, REJECTS, MODEL, CHALLENGER, TRITON, ADS, STATE)
