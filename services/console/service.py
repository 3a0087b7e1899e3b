"""The console as routes. The gateway serves them beside the routes of the services."""

from fastapi import APIRouter

from firsthour.runtime.http.auth import Keys
from firsthour.runtime.processing.service import Resources
from services.console.markup import Pages
from services.console.page_route import page_route
from services.console.routes import home, leads, session_list, sign_in, style_page
from services.console.session_api import session_router
from services.console.viewer import Viewers

ROUTES = (home.add_routes, sign_in.add_routes, leads.add_routes, session_list.add_routes, style_page.add_routes)


def routers(resources: Resources, keys: Keys) -> list[APIRouter]:
    """Return the routes of the pages, and those of sessions in the HTTP interface."""
    viewers, pages = Viewers(resources, keys), Pages(resources.clock)
    console = APIRouter(route_class=page_route(pages), include_in_schema=False)
    for add_routes in ROUTES:
        add_routes(console, resources, viewers, pages)
    return [console, session_router(resources, viewers)]
