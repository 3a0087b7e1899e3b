"""The routes of administration: keys, the audit log, dead letters, webhooks, verify and doctor. The command line uses them too."""

from collections.abc import Sequence

from fastapi import APIRouter

from firsthour.operations.administration.agreement_routes import add_agreement_routes
from firsthour.operations.administration.audit_routes import add_audit_routes
from firsthour.operations.administration.check_routes import add_check_routes
from firsthour.operations.administration.dead_letter_routes import add_dead_letter_routes
from firsthour.operations.administration.import_routes import add_import_routes
from firsthour.operations.administration.key_routes import add_key_routes
from firsthour.operations.administration.notice_routes import add_notice_routes
from firsthour.operations.administration.source_routes import add_source_routes
from firsthour.operations.administration.webhook_routes import add_webhook_routes
from firsthour.operations.profile_checks import ProfileChecks
from firsthour.runtime.http.auth import Keys
from firsthour.runtime.processing.service import Resources, Service


def administration_router(
    resources: Resources, keys: Keys, services: Sequence[Service], profile: ProfileChecks, *, live: bool = True
) -> APIRouter:
    """Return the routes. `live`: workers and ticks of this installation run, here or in other processes."""
    api = APIRouter(tags=["administration"])
    add_key_routes(api, resources, keys)
    add_audit_routes(api, resources)
    add_dead_letter_routes(api, resources, services)
    add_webhook_routes(api, resources)
    add_notice_routes(api, resources)
    add_check_routes(api, resources, profile, live=live)
    add_import_routes(api, resources)
    add_source_routes(api, resources)
    add_agreement_routes(api, resources)
    return api
