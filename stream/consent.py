"""What a user allows, in the purposes of IAB Europe's TCF 2: kept in the user's state, which only FOLD writes.

Purposes: 2 basic ads and their caps, 3 a profile, 4 personalised ads, 5 and 6 personalised content. The others are
kept and passed on; nothing here hangs on them. Legitimate interest counts for none of them: only consent does.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

BASIC_ADS: Final = 2
PROFILE: Final = 3
PERSONALISED_ADS: Final = 4
LAST_PURPOSE: Final = 11
#: Nobody may be profiled for these who is a minor.
_PROFILING: Final = (3, 4, 5, 6)
_MAX_SECONDS: Final = 2**32 - 1


class Gap(StrEnum):
    """Why a user may not be profiled; the reason of the counter."""

    MISSING = "consent_missing"
    REFUSED = "consent_refused"
    EXPIRED = "consent_expired"
    MINOR = "minor"


def purpose_bits(purposes: Iterable[int]) -> int:
    """Purposes as one number: bit n for purpose n."""
    bits = 0
    for purpose in purposes:
        bits |= 1 << purpose
    return bits


ALL_PURPOSES: Final = purpose_bits(range(1, LAST_PURPOSE + 1))


class Consent(NamedTuple):
    """What a user said, or nothing yet."""

    purposes: int = 0
    #: Second from which on it holds no more; 0: never.
    expires_at_s: int = 0
    is_stated: bool = False
    is_minor: bool = False

    def allowed(self, now_ms: int, default: int) -> int:
        """Purposes that hold now.

        Args:
            now_ms: UTC ms.
            default: Purposes of users who said nothing.
        """
        purposes = self.purposes if self.is_stated else default
        if self._has_expired(now_ms):
            purposes = 0
        return purposes & ~purpose_bits(_PROFILING) if self.is_minor else purposes

    def gap(self, now_ms: int, default: int) -> Gap | None:
        """Why the user may not be profiled now, or None."""
        if allows(self.allowed(now_ms, default), PROFILE):
            return None
        if self.is_minor:
            return Gap.MINOR
        if not self.is_stated:
            return Gap.MISSING
        return Gap.EXPIRED if self._has_expired(now_ms) else Gap.REFUSED

    def _has_expired(self, now_ms: int) -> bool:
        return self.is_stated and 0 < self.expires_at_s <= now_ms // 1000


#: Of most users where a back end asks by itself.
SAID_NOTHING: Final = Consent()


def stated(purposes: Iterable[int], expires_at_ms: int | None, *, is_minor: bool) -> Consent:
    """A statement; one that expires before 1970 or never is kept as what it means."""
    expires = 0 if expires_at_ms is None else min(max(expires_at_ms // 1000, 1), _MAX_SECONDS)
    return Consent(purpose_bits(purposes), expires, is_stated=True, is_minor=is_minor)


def combined(consent: Consent, other: Consent, default: int) -> Consent:
    """The stricter of two: what both allow, until the first of them expires; a minor is one in both.

    Args:
        consent: Of a user; who said nothing is held to have said the default.
        other: Of another id of the same person; if nothing was said there, it takes nothing away.
        default: Purposes of users who said nothing.
    """
    is_minor = consent.is_minor or other.is_minor
    if not other.is_stated:
        return consent._replace(is_minor=is_minor)
    purposes = (consent.purposes if consent.is_stated else default) & other.purposes
    expiries = [expires for expires in (consent.expires_at_s, other.expires_at_s) if expires]
    return Consent(purposes, min(expiries, default=0), is_stated=True, is_minor=is_minor)


def allows(allowed: int, *purposes: int) -> bool:
    """Whether all of these purposes are among the allowed."""
    wanted = purpose_bits(purposes)
    return allowed & wanted == wanted


def purpose_list(allowed: int) -> list[int]:
    """The allowed purposes as numbers, rising."""
    return [purpose for purpose in range(1, LAST_PURPOSE + 1) if allowed >> purpose & 1]
