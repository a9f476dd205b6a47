"""The version that dead letters and logs name."""

from importlib.metadata import PackageNotFoundError, version


def app_version() -> str:
    """The installed version of the distribution."""
    try:
        return version("interestflow")
    except PackageNotFoundError:
        return "0+source"
