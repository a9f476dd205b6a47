"""What FOLD is told about people's privacy."""

from typing import NamedTuple

from stream.consent import ALL_PURPOSES
from stream.sensitive import NOTHING_SENSITIVE, SensitiveNames


class PrivacyRules(NamedTuple):
    """Of one deployment; all workers must have the same."""

    sensitive: SensitiveNames = NOTHING_SENSITIVE
    #: Secret of the keys that erased users' markers are kept under.
    marker_secret: bytes = b""
    #: Purposes of users who said nothing (stream.consent).
    default_purposes: int = ALL_PURPOSES
