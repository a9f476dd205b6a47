"""The contract of ``ads.campaigns``: one campaign with its creatives per key, a null value where it was removed."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stream.decode import parse_object
from stream.errors import RejectionError
from stream.events import Reason
from stream.exposure import EXPOSURE_SPAN_MS, MAX_EXPOSURES

#: UTC ms of 2000-01-01 and of 2100-01-01: what lies outside is another unit or an unset clock.
_MIN_MS: Final = 946_684_800_000
_MAX_MS: Final = 4_102_444_800_000
_NUMBERS_TOO_LONG: Final = 2**63

_Id = Annotated[str, Field(min_length=1, max_length=256)]
_Name = Annotated[str, Field(max_length=512)]
_Domain = Annotated[str, Field(min_length=1, max_length=253)]
_Category = Annotated[str, Field(min_length=1, max_length=64)]
_Moment = Annotated[int, Field(ge=_MIN_MS, lt=_MAX_MS)]
_STRICT: Final = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class FrequencyCap(BaseModel):
    """At most so many impressions to one user within a span; bounded by what is remembered of exposures."""

    model_config = _STRICT

    impressions: Annotated[int, Field(ge=1, le=MAX_EXPOSURES)]
    span_ms: Annotated[int, Field(ge=1, le=EXPOSURE_SPAN_MS)]


class Creative(BaseModel):
    """One ad of a campaign, described in words so that a new one needs no training.

    ``categories`` are names as the shop's items carry them in ``item_category`` to ``item_category5``.
    ``products`` counts the products that the ad is good for.
    """

    model_config = _STRICT

    crid: _Id
    title: _Name
    categories: Annotated[list[_Name], Field(max_length=200)] = []
    products: Annotated[int, Field(ge=0, le=1_000_000_000)] = 1


class Campaign(BaseModel):
    """An order to show creatives, in the names of OpenRTB 2.6.

    It runs from ``starts_at_ms`` until before ``ends_at_ms`` (UTC epoch ms). ``bid_cpm`` is what a thousand
    impressions are worth to it, in the account's currency. Without ``frequency_cap`` the worker's default holds.
    """

    model_config = _STRICT

    cid: _Id
    name: _Name
    seat: _Id
    adomain: Annotated[list[_Domain], Field(max_length=20)] = []
    cat: Annotated[list[_Category], Field(max_length=50)] = []
    starts_at_ms: _Moment
    ends_at_ms: _Moment
    status: Literal["active", "paused"]
    bid_cpm: Annotated[float, Field(gt=0.0, le=1_000_000.0)]
    frequency_cap: FrequencyCap | None = None
    creatives: Annotated[list[Creative], Field(min_length=1, max_length=500)]


_CAMPAIGN = TypeAdapter(Campaign).validator.validate_python

#: pydantic's error types to our reason; anything else is a wrong type.
_FIELD_REASONS: Final[dict[str, Reason]] = {
    "missing": Reason.MISSING,
    "string_too_long": Reason.FIELD_LONG,
    "too_long": Reason.TOO_WIDE,
    "string_too_short": Reason.RANGE,
    "too_short": Reason.RANGE,
    "greater_than": Reason.RANGE,
    "greater_than_equal": Reason.RANGE,
    "less_than": Reason.RANGE,
    "less_than_equal": Reason.RANGE,
    "literal_error": Reason.RANGE,
    "finite_number": Reason.NONFINITE,
}


def parse_campaign(key: bytes | None, value: bytes | None) -> Campaign | None:
    """Give the campaign of a record, or None if the record removes the campaign of its key.

    Raises:
        RejectionError: With a reason of :class:`stream.events.Reason`; what was known under the key stays.
    """
    cid = campaign_key(key)
    if value is None:
        return None
    try:
        campaign: Campaign = _CAMPAIGN(parse_object(value))
    except ValidationError as error:
        raise _rejection(error) from error
    if campaign.cid != cid:
        detail = f"the key is {cid!r}, cid is {campaign.cid!r}; key each campaign by its cid"
        raise RejectionError(Reason.KEY_MISMATCH, detail)
    _check_agreement(campaign)
    return campaign


def campaign_key(key: bytes | None) -> str:
    """The cid that a record is about.

    Raises:
        RejectionError: ``missing`` or ``utf8``.
    """
    if not key:
        raise RejectionError(Reason.MISSING, "the record has no key; key each campaign by its cid")
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise RejectionError(Reason.UTF8, f"the key is not UTF-8: {error.reason}") from error


def _check_agreement(campaign: Campaign) -> None:
    if campaign.ends_at_ms <= campaign.starts_at_ms:
        detail = (
            f"ends_at_ms is {campaign.ends_at_ms}, not after starts_at_ms {campaign.starts_at_ms}; "
            "a campaign runs from its start until before its end"
        )
        raise RejectionError(Reason.RANGE, detail)
    seen: set[str] = set()
    for creative in campaign.creatives:
        if creative.crid in seen:
            detail = (
                f"crid {creative.crid!r} stands twice in campaign {campaign.cid!r}; name each creative once"
            )
            raise RejectionError(Reason.ID_CONFLICT, detail)
        seen.add(creative.crid)


def _rejection(error: ValidationError) -> RejectionError:
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    reason = _FIELD_REASONS.get(first["type"], Reason.TYPE)
    if first["loc"][-1] in ("starts_at_ms", "ends_at_ms") and reason is Reason.RANGE:
        return RejectionError(Reason.TS_UNIT, f"{field} is {first['input']}; send UTC epoch milliseconds")
    if (
        reason is Reason.TYPE
        and isinstance(first["input"], float)
        and abs(first["input"]) >= _NUMBERS_TOO_LONG
    ):
        reason = Reason.NUMBER  # orjson reads integers beyond 64 bits as floats
    return RejectionError(reason, f"{field}: {first['msg']}")
