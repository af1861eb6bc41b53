"""Alerts: drift, rejected files, and failed or late runs reach the address in the variable UNROLL_ALERT_URL.

The flow emits events, Prefect's server emits those of runs, and automations of the server send a text for them. So an
alert of a run that never started needs no worker. There is at most one alert in `WINDOW` for a subject and a flow.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from prefect.automations import AutomationCore, EventTrigger, Posture, SendNotification
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events import emit_event
from pydantic import SecretStr

from unroll.errors import ParameterError
from unroll.redaction import printable, redacted
from unroll.scoring.report import JobReport

ADDRESS = "UNROLL_ALERT_URL"
WINDOW = timedelta(hours=1)
"""Time that a due run may wait before an alert, and between two alerts of a subject."""
_NAME = "unroll-alerts"
_MAX_FILES = 10
_RUN = "prefect.flow-run"
_PAGE = " {{ flow_run|ui_url }}"
_SUBJECTS = {
    "drift": "{{ event.payload.verdict }} ({{ event.resource.name }})",
    "rejected": "{{ event.payload.text }}",
    "failed": "{{ flow.name }} ({{ flow_run.name }}): {{ flow_run.state.name }}, {{ flow_run.state.message }}",
    "late": "{{ flow.name }} ({{ flow_run.name }}): due at {{ flow_run.expected_start_time }}, no run has started",
}
"""What is sent, as Prefect's server fills it in."""


def set_up(client: SyncPrefectClient, address: str, window: timedelta = WINDOW) -> None:
    """Make the server's automations send alerts to an address, or delete them where it is empty.

    Args:
        client: Client of the server.
        address: `https://…` gets JSON with the key `text`; anything else is an address of Apprise, such as `mailtos://…`.
        window: Time that a due run may wait, and between two alerts of a subject.

    Raises:
        ParameterError: The address is of no kind that can be used.
    """
    block = notifier(address) if address else None
    for subject in _SUBJECTS:
        for old in client.read_automations_by_name(f"{_NAME}-{subject}"):
            client.delete_automation(old.id)
    if block is None:
        return
    block_id: Any = block.save(_NAME, overwrite=True)
    for subject, body in _SUBJECTS.items():
        title = f"Unroll: {subject}"
        # A webhook gets the body alone.
        action = SendNotification(block_document_id=block_id, subject=title, body=f"{title}: {body}{_PAGE}")
        trigger = _trigger(subject, window)
        client.create_automation(AutomationCore(name=f"{_NAME}-{subject}", trigger=trigger, actions=[action]))


def notifier(address: str) -> NotificationBlock:
    """Return Prefect's block that sends texts to an address.

    Raises:
        ParameterError: It is of no kind that can be used.
    """
    import apprise

    if address.startswith(("http://", "https://")):
        address = _as_hook(address)

    if not apprise.Apprise().add(address):
        raise ParameterError(
            f"{ADDRESS} has no address that can be used; expected https://…, or one that Apprise knows, such as "
            "mailtos://USER:PASSWORD@SMTP-SERVER?to=ADDRESS"
        )
    # In spite of its name, this block hands each address on to Apprise, which Prefect brings with it.
    return SlackWebhook(url=SecretStr(address))


def _as_hook(address: str) -> str:
    """Return the address for which Apprise posts the text alone, as `text`.

    Prefect's own block for webhooks would not do: if a hook refuses, its error has the whole address, and is logged.
    """
    url = urlsplit(address)
    query = [(f"-{key}", value) for key, value in parse_qsl(url.query, keep_blank_values=True)]
    query += [(":message", "text"), *((f":{key}", "") for key in ("version", "title", "attachments", "type"))]
    scheme = {"http": "json", "https": "jsons"}[url.scheme]
    return urlunsplit((scheme, url.netloc, url.path, urlencode(query, quote_via=quote), ""))


def _trigger(subject: str, window: timedelta) -> EventTrigger:
    flows: dict[str, str | list[str]] = {"prefect.resource.role": "flow", "prefect.resource.name": ["score", "train"]}
    if subject == "late":
        # A run of the same deployment that starts, or a person who cancels the late one, calls the alert off.
        return EventTrigger(
            posture=Posture.Proactive,
            after={f"{_RUN}.Late"},
            expect={f"{_RUN}.Running", f"{_RUN}.Cancelled"},
            for_each={"related:deployment:prefect.resource.id"},
            match_related=flows,
            within=window,
        )
    ended = {f"{_RUN}.{state}" for state in ("Failed", "Crashed", "TimedOut")}
    return EventTrigger(
        expect=ended if subject == "failed" else {f"unroll.{subject}"},
        for_each={"related:flow:prefect.resource.id"},
        match_related=flows,
        within=window,
    )


def emit_events(report: JobReport) -> None:
    """Emit `unroll.drift`, `unroll.rejected` and `unroll.quarantine` of a job, about its model."""
    model = str(report.model_version)
    about = {"prefect.resource.id": f"unroll.model.{model}", "prefect.resource.name": model}
    counts, rejected = report.counts(), report.of("rejected")
    if report.drift and report.drift.drifted:
        columns = [one.name for one in report.drift.drifted]
        emit_event("unroll.drift", about, payload={"verdict": report.drift.verdict(), "columns": columns})
    if rejected:
        first = [printable(redacted(f"{one.file}: {one.reason}")) for one in rejected[:_MAX_FILES]]
        text = f"{len(rejected):,} files rejected. The first: {first[0]}"
        emit_event("unroll.rejected", about, payload={"text": text, "files": len(rejected), "first": first})
    if counts["rows_quarantined"]:
        rows = {name: counts[name] for name in ("rows_in", "rows_quarantined")}
        emit_event("unroll.quarantine", about, payload=rows)
