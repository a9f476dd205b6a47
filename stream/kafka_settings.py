"""The settings of Kafka: where it is, how it is entered, and how this worker takes part in its group."""

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

#: A restart with recovery and the pulling of an image fits in; Kafka's own default.
_STATIC_SESSION_SECONDS: Final = 45.0


class Section(BaseModel):
    """One part of the settings, frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(Section):
    """Brokers, topics and how keys map to partitions."""

    bootstrap_servers: str = "127.0.0.1:9092"
    partitions: int = Field(4, ge=1, le=4096, description="Of each owned input and of both changelogs.")
    replication_factor: int = Field(1, ge=1, le=9)
    partitioner: Literal["murmur2", "crc32"] = Field(
        "murmur2", description="How producers map keys: murmur2 (Java, aiokafka) or crc32 (librdkafka)."
    )
    source_epoch: int = Field(0, ge=0, le=65_535, description="Raise by one after recreating an input topic.")
    bundle_records: int = Field(
        8000, ge=1, le=50_000, description="Most records of one partition folded at once."
    )
    session_timeout_seconds: float = Field(10.0, ge=1.0, le=300.0)
    static_membership: bool = Field(
        default=False,
        description="A restart within the session timeout (then at least 45 s) moves no partitions.",
    )
    group_instance_id: str | None = Field(
        None,
        min_length=1,
        max_length=249,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Of a static member, its own for each worker; without it the host's name, in Kubernetes the pod's.",
    )
    rebalance_timeout_seconds: float = Field(12.0, ge=1.0, le=600.0)
    request_timeout_seconds: float = Field(30.0, ge=1.0, le=300.0)
    commit_interval_seconds: float = Field(1.0, ge=0.05, le=60.0)
    linger_ms: int = Field(0, ge=0, le=1000, description="Batches are built whole; waiting only delays them.")
    fencing: bool = Field(
        default=True,
        description="Kafka refuses what a worker writes to the changelogs of a partition that it lost. Needs rights on transactional "
        "ids; see docs/adr/0016.",
    )
    broker: Literal["kafka", "tansu"] = Field(
        "kafka", description="tansu: the embedded broker, whose ListOffsets needs a work-around."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = Field(
        None, description="The password from a file, as a mounted secret."
    )
    sasl_token_file: Path | None = Field(
        None, description="Of OAUTHBEARER: a token that something else keeps fresh; read at every login."
    )
    ssl_ca_file: Path | None = Field(None, description="PEM; without it the machine's authorities.")
    ssl_cert_file: Path | None = Field(
        None, description="PEM; our certificate, for brokers that ask for one."
    )
    ssl_key_file: Path | None = Field(None, description="PEM; its key.")
    allow_plaintext: bool = Field(
        default=False, description="Without TLS also to brokers that are not on this machine."
    )

    @model_validator(mode="after")
    def _let_a_static_member_restart(self) -> Self:
        if self.static_membership and self.session_timeout_seconds < _STATIC_SESSION_SECONDS:
            raise ValueError(
                f"static_membership with session_timeout_seconds={self.session_timeout_seconds:g}: a static member says no "
                f"good-bye, so the timeout must be longer than a restart; set it to {_STATIC_SESSION_SECONDS:g} or more"
            )
        return self
