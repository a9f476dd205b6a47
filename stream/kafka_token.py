"""An OAuth token for Kafka from a file that something else keeps fresh, as a projected service account token."""

import asyncio
from pathlib import Path

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from stream.errors import ConfigurationError
from stream.secret import read_secret

_TOKEN = "INTERESTFLOW_KAFKA__SASL_TOKEN"  # noqa: S105 - the variable's name


class FileToken(AbstractTokenProvider):  # type: ignore[misc] # aiokafka has no types
    """Reads the file at every login: a connection that is made later gets the token of then.

    Args:
        file: Holds the token and nothing else.

    Raises:
        ConfigurationError: If the file can't be read or is empty.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.read()

    def read(self) -> str:
        """The token as it stands in the file."""
        return read_secret(_TOKEN, None, self._file) or ""

    async def token(self) -> str:
        """What a login is made with.

        Raises:
            aiokafka.errors.KafkaConnectionError: If there is none just now; aiokafka tries again, other errors end it.
        """
        try:
            return await asyncio.to_thread(self.read)
        except ConfigurationError as error:
            raise KafkaConnectionError(str(error)) from error
