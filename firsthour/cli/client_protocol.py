"""How commands get a line to the installation: the type of what `__main__` passes to them."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from firsthour.cli.running_server import ServerLine


class Connect(Protocol):
    """Gives a line to the installation in `data` (None: as the settings say), for as long as the context lasts.

    `create`: make what is missing. `configured`: the command acts by the configuration files, so they have to be right.
    """

    def __call__(
        self, data: Path | None, *, create: bool = False, configured: bool = False
    ) -> AbstractAsyncContextManager[ServerLine]: ...
