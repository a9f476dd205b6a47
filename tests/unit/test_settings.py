"""Settings from the environment: typed, frozen, and no mistyped name goes unnoticed."""

import socket
import traceback
from typing import Protocol

import pytest
from pydantic import ValidationError

from stream.errors import ConfigurationError
from stream.fold import ERASED_MARKER_MS
from stream.kafka_client import group_instance_id
from stream.kafka_settings import KafkaSettings
from stream.setting_sections import PrivacySettings, WindowSettings
from stream.settings import PREFIX, Settings, known_variables, load_settings, settings_in_force
from stream.topic_limits import TopicLimits
from stream.window import DAY_MS, WindowPolicy


class Load(Protocol):
    """Gives the settings of an environment with these variables."""

    def __call__(self, **variables: str) -> Settings: ...


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Whatever else the machine has set does not matter."""
    for name in known_variables():
        monkeypatch.delenv(name, raising=False)

    def load_with(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(PREFIX + name.upper(), value)
        return load_settings()

    return load_with


def test_without_variables_everything_has_its_default(load: Load) -> None:
    settings = load()

    assert settings == Settings()
    assert (settings.app_id, settings.kafka.partitions, settings.window.size) == ("interestflow", 4, 64)


def test_a_variable_sets_one_value_of_its_section(load: Load) -> None:
    settings = load(kafka__partitions="12", kafka__bootstrap_servers="a:1,b:2", virtual_time="true")

    assert (settings.kafka.partitions, settings.kafka.bootstrap_servers) == (12, "a:1,b:2")
    assert (settings.kafka.partitioner, settings.virtual_time) == ("murmur2", True)


def test_names_are_read_in_any_case(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("interestflow_window__size", "9")

    assert load().window.size == 9


def test_variables_of_the_tools_around_do_not_matter(load: Load) -> None:
    assert load(engine="openvino", triton_python="python") == Settings()


def test_all_unknown_variables_are_named_at_once(load: Load) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(kafka__bootstrap_server="x", windw__size="3", kafka="{}")

    assert str(caught.value) == (
        "unknown settings INTERESTFLOW_KAFKA, INTERESTFLOW_KAFKA__BOOTSTRAP_SERVER, INTERESTFLOW_WINDW__SIZE; "
        "`interestflow settings` lists the known ones"
    )


def test_all_values_that_do_not_fit_are_named_at_once(load: Load) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(kafka__partitions="0", window__size="many", app_id="a b")

    message = str(caught.value)
    assert message.startswith("settings out of range: ")
    assert "INTERESTFLOW_KAFKA__PARTITIONS='0': Input should be greater than or equal to 1" in message
    assert "INTERESTFLOW_WINDOW__SIZE='many': Input should be a valid integer" in message
    assert "INTERESTFLOW_APP_ID='a b': String should match pattern" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kafka__partitioner", "md5"),
        ("kafka__session_timeout_seconds", "0"),
        ("kafka__source_epoch", "65536"),
        ("window__size", "256"),
        ("store__backend", "redis"),
        ("model__batch_rows", "65"),
        ("score__change_threshold", "1.5"),
        ("ads__explore_ratio", "0.6"),
        ("health__port", "65536"),
        ("log_level", "LOUD"),
        ("virtual_time", "perhaps"),
    ],
)
def test_a_value_out_of_its_range_is_refused(load: Load, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=(PREFIX + name).upper()):
        load(**{name: value})


def test_settings_cannot_be_changed() -> None:
    settings = Settings()

    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings.kafka, "partitions", 3)  # noqa: B010 - mypy would not let us
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, "app_id", "x")  # noqa: B010 - as above


def test_a_password_shows_nowhere(load: Load) -> None:
    settings = load(kafka__sasl_password="hunter2")

    assert settings.kafka.sasl_password is not None
    assert settings.kafka.sasl_password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings) + str(settings.model_dump_json())


def test_the_window_settings_become_the_policy_of_the_pure_functions(load: Load) -> None:
    settings = load(
        window__size="9", window__span_days="2", window__lateness_grace_hours="3", window__interest_level="1"
    )

    assert settings.window.policy() == WindowPolicy(
        size=9, span_ms=2 * DAY_MS, lateness_grace_ms=3 * 3_600_000, interest_level=1
    )
    assert WindowSettings().policy() == WindowPolicy()


def test_every_setting_is_listed_with_its_default() -> None:
    listed = known_variables()

    assert listed["INTERESTFLOW_APP_ID"] == "interestflow"
    assert listed["INTERESTFLOW_WINDOW__SIZE"] == "64  Behaviours in the window."
    assert listed["INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS"] == "127.0.0.1:9092"
    assert "INTERESTFLOW_KAFKA" not in listed


def test_every_listed_setting_can_be_set_to_its_default(load: Load) -> None:
    written = {
        name.removeprefix(PREFIX): text.split("  ")[0]
        for name, text in known_variables().items()
        if not text.startswith("None")
    }

    assert load(**written) == Settings()


def test_privacy_is_told_to_fold_and_to_the_topics(load: Load) -> None:
    settings = load(
        consent__default="none",
        privacy__marker_secret="s3cret",
        privacy__retention_days="10",
        sensitive__optional="",
    )

    rules = settings.privacy_rules()
    assert (rules.default_purposes, rules.marker_secret) == (0, b"s3cret")
    assert (rules.sensitive.topic_of(("wine",)), rules.sensitive.topic_of(("cough",))) == (None, "health")
    assert settings.privacy.limits() == TopicLimits(10 * DAY_MS, 7 * DAY_MS)
    assert "s3cret" not in repr(settings)


def test_no_retention_is_limited_if_it_is_left_to_the_broker(load: Load) -> None:
    assert load(privacy__retention_days="0").privacy.limits().retention_ms is None


def test_nothing_may_be_kept_for_longer_than_a_marker_lives(load: Load) -> None:
    longest = PrivacySettings.model_fields["retention_days"].metadata[1].le

    assert (longest + 7) * DAY_MS < ERASED_MARKER_MS  # a segment of a week may wait for its end
    with pytest.raises(ConfigurationError, match="INTERESTFLOW_PRIVACY__RETENTION_DAYS"):
        load(privacy__retention_days="46")


def test_a_static_member_needs_time_for_its_restart(load: Load) -> None:
    password = "hunter" + "2"  # not in any line of the traceback

    with pytest.raises(ConfigurationError) as caught:
        load(kafka__static_membership="true", kafka__sasl_password=password)

    assert str(caught.value) == (
        "settings out of range: INTERESTFLOW_KAFKA: Value error, static_membership with session_timeout_seconds=10: a "
        "static member says no good-bye, so the timeout must be longer than a restart; set it to 45 or more"
    )
    assert password not in "".join(traceback.format_exception(caught.value))


def test_a_static_member_is_known_by_its_id_or_its_host() -> None:
    assert group_instance_id(KafkaSettings()) is None
    named = KafkaSettings(static_membership=True, session_timeout_seconds=45.0, group_instance_id="worker-2")
    unnamed = KafkaSettings(static_membership=True, session_timeout_seconds=45.0)
    assert group_instance_id(named) == "worker-2"
    assert group_instance_id(unnamed) == socket.gethostname()


def test_a_worker_says_that_it_is_not_ready_before_it_ends(load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"exit_seconds=30 must not be below not_ready_seconds=60"):
        load(watchdog__exit_seconds="30")


def test_the_settings_in_force_can_be_shown_without_their_secrets(load: Load) -> None:
    shown = settings_in_force(load(kafka__sasl_password="hunter2", kafka__partitions="12"))

    assert shown.keys() == known_variables().keys()
    assert shown["INTERESTFLOW_KAFKA__PARTITIONS"] == "12"
    assert shown["INTERESTFLOW_KAFKA__SASL_PASSWORD"] == "**********"
    assert shown["INTERESTFLOW_KAFKA__SASL_USERNAME"] == ""
