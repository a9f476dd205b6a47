"""Secrets from a file that an orchestrator mounts, or from a variable; never from both."""

from pathlib import Path

from pydantic import SecretStr

from stream.errors import ConfigurationError


def read_secret(variable: str, value: SecretStr | None, file: Path | None) -> str | None:
    """The secret, None if neither is set; a file is read anew each time, without the white space around.

    Args:
        variable: Name of the setting; that of its file ends in ``_FILE``.
        value: What the variable says.
        file: What the file's variable says.

    Raises:
        ConfigurationError: If both are set, or the file can't be read or is empty.
    """
    if file is None:
        return None if value is None else value.get_secret_value()
    if value is not None:
        raise ConfigurationError(f"{variable} and {variable}_FILE are both set: unset one of them")
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{variable}_FILE={file} can't be read ({type(error).__name__}): check that it is mounted and readable"
        ) from error
    if not secret:
        raise ConfigurationError(f"{variable}_FILE={file} is empty: write the secret into it")
    return secret
