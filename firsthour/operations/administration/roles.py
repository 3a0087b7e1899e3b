"""The roles that the routes of administration need."""

from typing import Annotated

from fastapi import Depends

from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal

Admin = Annotated[Principal, Depends(needs("admin"))]
Manager = Annotated[Principal, Depends(needs("manager"))]
