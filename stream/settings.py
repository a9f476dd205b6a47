"""Settings, read once at the entry point from ``INTERESTFLOW_*`` variables and passed on, frozen."""

import os
from typing import Final, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream.errors import ConfigurationError
from stream.kafka_settings import KafkaSettings, Section
from stream.privacy import PrivacyRules
from stream.secret import read_secret
from stream.setting_sections import (
    AdSettings,
    ConsentSettings,
    DeadLetterSettings,
    HealthSettings,
    ModelSettings,
    PrivacySettings,
    RolloutSettings,
    ScoreSettings,
    SensitiveSettings,
    StoreSettings,
    WatchdogSettings,
    WindowSettings,
)

PREFIX: Final = "INTERESTFLOW_"
#: Variables with our prefix that belong to the tools around the service, not to its settings.
_FOREIGN: Final = frozenset({"INTERESTFLOW_ENGINE", "INTERESTFLOW_TRITON_PYTHON"})


class Settings(BaseSettings):
    """Everything a worker is told."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    app_id: str = Field("interestflow", min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+$")
    virtual_time: bool = Field(
        default=False, description="Replays only: record timestamps carry the virtual time."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    kafka: KafkaSettings = KafkaSettings()
    window: WindowSettings = WindowSettings()
    store: StoreSettings = StoreSettings()
    model: ModelSettings = ModelSettings()
    score: ScoreSettings = ScoreSettings()
    rollout: RolloutSettings = RolloutSettings()
    ads: AdSettings = AdSettings()
    dead_letter: DeadLetterSettings = DeadLetterSettings()
    sensitive: SensitiveSettings = SensitiveSettings()
    consent: ConsentSettings = ConsentSettings()
    privacy: PrivacySettings = PrivacySettings()
    health: HealthSettings = HealthSettings()
    watchdog: WatchdogSettings = WatchdogSettings()

    def privacy_rules(self) -> PrivacyRules:
        """What FOLD is told about people's privacy."""
        privacy = self.privacy
        secret = read_secret(
            "INTERESTFLOW_PRIVACY__MARKER_SECRET", privacy.marker_secret, privacy.marker_secret_file
        )
        return PrivacyRules(
            sensitive=self.sensitive.names(),
            marker_secret=(secret or "").encode(),
            default_purposes=self.consent.purposes(),
        )


def load_settings() -> Settings:
    """The settings that the environment asks for.

    Raises:
        ConfigurationError: Naming all unknown ``INTERESTFLOW_*`` variables, or each value out of range.
    """
    unknown = sorted(
        name for name in os.environ if name.upper().startswith(PREFIX) and not _known(name.upper())
    )
    if unknown:
        raise ConfigurationError(
            f"unknown settings {', '.join(unknown)}; `interestflow settings` lists the known ones"
        )
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{'__'.join(str(part).upper() for part in item['loc'])}{_shown(item['input'])}: {item['msg']}"
            for item in error.errors()
        )
        # Not "from error": a section's error holds all its values, passwords too.
        raise ConfigurationError(f"settings out of range: {problems}") from None


def _shown(value: object) -> str:
    """One value as it was set; a section that contradicts itself names its values in the message."""
    return f"={value!r}" if isinstance(value, str) else ""


def known_variables() -> dict[str, str]:
    """Every variable with its default and description, for ``interestflow settings``."""
    listed: dict[str, str] = {}
    for name, field in Settings.model_fields.items():
        section = field.default
        if isinstance(section, Section):
            for inner, described in type(section).model_fields.items():
                text = f"{getattr(section, inner)}  {described.description or ''}"
                listed[f"{PREFIX}{name}__{inner}".upper()] = text.rstrip()
        else:
            listed[f"{PREFIX}{name}".upper()] = f"{field.default}  {field.description or ''}".rstrip()
    return listed


def settings_in_force(settings: Settings) -> dict[str, str]:
    """Every variable with the value that holds; a secret shows only that it is set."""
    listed: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        values = (
            {f"{name}__{inner}": part for inner, part in value}
            if isinstance(value, Section)
            else {name: value}
        )
        listed.update(
            {f"{PREFIX}{key}".upper(): "" if one is None else str(one) for key, one in values.items()}
        )
    return listed


def _known(name: str) -> bool:
    return name in _FOREIGN or name in known_variables()
