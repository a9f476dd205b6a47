"""The wire contract of the two models: names, sizes and limits that the worker and every server rely on."""

from typing import Final

ENCODER: Final = "behaviour_encoder"
HEAD: Final = "interest_head"
ENCODER_INPUTS: Final = ("INPUT_IDS", "ATTENTION_MASK")
ENCODER_OUTPUTS: Final = ("VECTOR",)
HEAD_INPUTS: Final = ("HISTORY", "USER", "WINDOW")
HEAD_OUTPUTS: Final = ("SCORES", "INTENT", "USER_VECTOR")
DIMENSIONS: Final = 384
#: Longer texts are cut: 64 tokens are some 300 characters.
MAX_TOKENS: Final = 64
#: The client pads to one of these, so that a GPU server sees few shapes.
BUCKETS: Final = (16, 32, 64)
#: Purchase intent within so many days.
INTENT_DAYS: Final = (1, 3, 7)
