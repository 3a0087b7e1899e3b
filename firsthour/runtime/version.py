"""The version of FirstHour."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("firsthour")
except PackageNotFoundError:  # run from a checkout that was never installed
    VERSION = "0+checkout"
