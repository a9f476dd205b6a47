"""What stops the trainer; part of the project's error tree (``stream.errors``)."""

from stream.errors import FatalError


class TrainerError(FatalError):
    """The run can't go on; the message says what to change."""


class ExportError(TrainerError):
    """A model can't be written the way it was meant."""


class ParityError(TrainerError):
    """Two runtimes disagree about the same model."""


class GateError(TrainerError):
    """A version is below the bars or its predecessor."""
