"""The stored form of a record in the log of the embedded profile and in the history: its JSON, compressed with a dictionary.

A record of a few hundred bytes is mostly what all records have in common, so it becomes a quarter as large or less. `DICTIONARY` never
changes: records that were packed with it could not be read again. A better one gets another mark.
"""

import zlib
from typing import Final

MARK: Final = b"\x01"
"""The first byte of a packed record. JSON begins with another one, so records of older releases are told apart."""
_LEVEL: Final = 3  # as small as 6 for records of this size, in three quarters of its time
_RAW: Final = -13  # a window of 8 KiB, which the dictionary fills, without the header and the checksum of zlib
_ANY_WINDOW: Final = -15
_MEMORY: Final = 4  # a small state, because each record copies it

_COMMON: Final = (
    "LeadsMerged merged_id leads.merged lead.touched consent.changed opportunity.moved custom. rep.availability_changed "
    "lead.snoozed lead.asked_again lead.opted_out lead.recycled lead.released lead.queued lead.status_changed page.failed "
    '"ignored":"the touch is from before the submit","given":true,"stage":"open","suppressed":"tried":["'
    '"company.country":"company.industry":"software","utm.source":"google","utm.medium":"cpc","utm.campaign":"'
    '"utm.source":"newsletter","utm.medium":"email","referrer":"https://www.","crm_id":"anonymous_id":"first_name":"'
    '"last_name":"message":"subject":"phone":"+1","language":"de","email.kind":"free","country":"US","language":"fr"'
    '"action_id":"outcome":"applied","why":"outcome":"refused","action":"reassign","by":"key:","action":"accept","until":"'
    '"kind":"manager"},"kind":"reminder"},"channel":"email","channel":"inbox","state":"away","state":"available",'
    '"note":"reason":"no-answer","kind":"reject","kind":"reassign","since":"20","told":true,"worked":'
    '"submit_at":"2026-12-01T09:02:03Z","promise_at":"2026-12-01T10:02:03Z","seconds":3600.0,"working_seconds":3600.0}'
    '"trigger":{"event_id":"type":"form.submitted","at":"source":"website","fields":{"form":"contact-sales"}}'
    '"met":[{"name":"Asked for us, and fits","urgency":"hot","by_event":true},{"name":"Asked for us","urgency":"warm",'
    '"by_event":true},{"name":"Interested, and fits","urgency":"warm","by_event":false}],"background":{"activity":[{"at":"'
    '"type":"page.viewed","subject":"/pricing"},{"at":"type":"email.opened","subject":"type":"content.downloaded",'
    '"type":"form.submitted","subject":"demo-request"}],"reasons":[{"because":"Asked to speak with us"},{"because":"'
    'Between 100 and 5,000 employees"},{"because":"Leads a department or more"}]}},"specversion":"1.0"'
    '"card":{"name":"email":"phone":"title":"Head of ","company":"employees":250.0,"country":"DE","because":"'
    '"source":"website","grade":"A","total":75.0,"activity":[{"at":"'
    '"source_id":"received_at":"2026-12-01T09:02:03Z","email":"phone":"+49","person":{"company.employees":'
    '"company.name":"country":"DE","language":"en","name":"title":"},"fields":{"path":"/docs/install"}},'
    '"fields":{"form":"demo-request"}},"specversion":"1.0"'
    '"channel":"phone","answered":true,"touched_at":"2026-12-01T09:02:03Z"},"stops":true,"event_id":"'
    '"seconds":9.0,"late":false,"rep":"working_seconds":9.0},"epoch":1,"rung":0,"person":"channel":"slack","at":"20'
    '"kind":"owner"},"page_id":"urn:firsthour:action.requested:1"}urn:firsthour:action.resolved:1"}'
    '"status":"working","was":"accepted","status":"customer","was":"opportunity","status":"nurturing","was":"assigned",'
    '"status":"accepted","was":"assigned","epoch":1,"by":"rep:","owner":"rep":"decision_id":"urgency":"hot","submit_at":"'
    '"assigned_at":"pool":"rule":"status":"qualified","was":"new","epoch":0,"by":"system","line":"title":"'
    '"status":"assigned","was":"qualified","epoch":1,"by":"system","owner":"'
    '"score":{"fit":90.0,"engagement":60.0,"total":75.0,"grade":"A"},"email":"phone":"facts":{"email.domain":"'
    '"email.kind":"business","company.domain":"company.employees":"company.name":"country":"DE","language":"en","name":"'
    '"title":"phone":"email":"'
)
_ENVELOPES: Final = "".join(
    f'{{"id":".1","source":"urn:firsthour:{service}","type":"{type}","time":"2026-12-01T09:00:07.500000Z",'
    f'"partitionkey":"","data":{{"lead_id":"","version":2,"at":"2026-12-01T09:00:07.500000Z","}},"specversion":"1.0",'
    f'"datacontenttype":"application/json","dataschema":"urn:firsthour:{type}:1"}}'
    for service, type in (
        ("notifier", "promise.missed"),
        ("notifier", "promise.kept"),
        ("notifier", "page.sent"),
        ("router", "touch.applied"),
        ("router", "lead.accepted"),
        ("router", "lead.qualified"),
        ("router", "lead.assigned"),
        ("gateway", "form.submitted"),
        ("gateway", "page.viewed"),
        ("scoring", "lead.scored"),
    )
)
DICTIONARY: Final = (_COMMON + _ENVELOPES).encode()
"""What is common comes last: it is named with the fewest bits."""

_EMPTY: Final = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW, _MEMORY, zdict=DICTIONARY)


def packed(body: bytes) -> bytes:
    """Return the stored form of a record."""
    stream = _EMPTY.copy()
    return MARK + stream.compress(body) + stream.flush()


def unpacked(stored: bytes) -> bytes:
    """Return a record from its stored form.

    What is not packed is returned as it is: a record of an older release, or a damaged one, which its decoder rejects.
    """
    body = bytes(stored)
    if not body.startswith(MARK):
        return body
    stream = zlib.decompressobj(_ANY_WINDOW, DICTIONARY)
    try:
        return stream.decompress(body[len(MARK) :]) + stream.flush()
    except zlib.error:
        return body
