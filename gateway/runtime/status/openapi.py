"""The API's OpenAPI 3.1 description."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

_TEXT: Final[Json] = {"type": "string"}
_WHOLE: Final[Json] = {"type": "integer"}
_NUMBER: Final[Json] = {"type": "number"}
_YES: Final[Json] = {"type": "boolean"}
_TIME: Final[Json] = {"type": ["integer", "null"], "description": "milliseconds since 1970 UTC"}
_COUNTS: Final[Json] = {"type": "object", "additionalProperties": _WHOLE}


def _object(properties: Json, optional: tuple[str, ...] = ()) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_LINK: Final[Json] = {"up": _YES, "reason": _TEXT, "since": _TIME}
_SCHEMAS: Final[Json] = {
    "Link": _object(_LINK),
    "Health": _object(
        {
            "status": {"enum": ["ok", "degraded", "starting"]},
            "ready": {"type": "boolean", "description": "the daemon has started"},
            "live": {"type": "boolean", "description": "no task of the daemon has stalled"},
            "reasons": _list(_TEXT),
            "gateway": _TEXT,
            "version": _TEXT,
            "boot": _TEXT,
            "time": _WHOLE,
            "uptime_seconds": _NUMBER,
            "clock": _object({"synchronised": _YES}),
            "devices": {"type": "object", "additionalProperties": _ref("Link")},
            "upstreams": {"type": "object", "additionalProperties": _ref("Link")},
            "tags": _WHOLE,
            "readings": _object({"polled": _WHOLE, "kept": _WHOLE, "acknowledged": _WHOLE, "lost": _WHOLE}),
            "compression_ratio": {"type": ["number", "null"]},
            "backlog": _object({"readings": _WHOLE, "age_seconds": _NUMBER}),
            "spool": _object(
                {
                    "memory_bytes": _WHOLE,
                    "disk_bytes": _WHOLE,
                    "blocks": _WHOLE,
                    "committed": _WHOLE,
                    "error": _TEXT,
                    "disk_free_bytes": {"type": ["integer", "null"]},
                },
                ("disk_free_bytes",),
            ),
            "process": _object({"rss_bytes": _WHOLE, "cpu_seconds": _NUMBER, "event_loop_lag_seconds": _NUMBER}),
        }
    ),
    "Device": _object(
        {
            "name": _TEXT,
            **_LINK,
            "detail": _TEXT,
            "connection": _TEXT,
            "driver": _TEXT,
            "every_seconds": {"type": ["number", "null"]},
            "tags": _WHOLE,
            "polls": _WHOLE,
            "errors": _COUNTS,
            "missed": _WHOLE,
            "last_good": _TIME,
            "latency_seconds": _NUMBER,
            "mean_latency_seconds": {"type": ["number", "null"]},
            "lateness_seconds": _NUMBER,
        }
    ),
    "Tag": _object(
        {
            "tag": _TEXT,
            "device": _TEXT,
            "name": _TEXT,
            "value": {"type": ["number", "boolean", "string", "null"]},
            "unit": _TEXT,
            "quality": {"enum": ["good", "uncertain", "bad"]},
            "reason": _TEXT,
            "time": _TIME,
            "type": _TEXT,
            "address": _TEXT,
            "writable": _YES,
            "trend": _list({"type": ["number", "null"]}),
        },
        ("reason", "trend"),
    ),
    "Upstream": _object(
        {
            "name": _TEXT,
            **_LINK,
            "broker": _TEXT,
            "format": _TEXT,
            "window": _WHOLE,
            "in_flight": _WHOLE,
            "messages": _WHOLE,
            "readings": _WHOLE,
            "refused": _COUNTS,
            "last_acknowledged": _TIME,
            "latency_seconds": _NUMBER,
            "backlog_readings": _WHOLE,
            "backlog_age_seconds": _NUMBER,
        }
    ),
    "Event": {"type": "object", "description": "an event as it goes over MQTT"},
    "Line": _object({"number": _WHOLE, "time": _WHOLE, "level": _TEXT, "message": _TEXT, "device": _TEXT}, ("device",)),
    "Error": _object({"error": _TEXT}),
}


def _parameter(name: str, schema: Json, text: str) -> Json:
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema}


def _offset_and_limit(most: int) -> list[Json]:
    return [
        _parameter("device", _TEXT, "only the tags of this device"),
        _parameter("search", _TEXT, "only tags whose full name holds this text"),
        _parameter("poor", {"enum": ["0", "1"]}, "1: only tags whose newest reading is not good"),
        _parameter("offset", {"type": "integer", "minimum": 0, "maximum": 1_000_000}, "rows to skip"),
        _parameter("limit", {"type": "integer", "minimum": 1, "maximum": most}, "rows at most"),
        _parameter("trend", {"enum": ["0", "1"]}, "with the last ten minutes of each tag"),
    ]


def _answer(text: str, body: Json) -> Json:
    return {"description": text, "content": {"application/json": {"schema": body}}}


_NO_TOKEN: Final = _answer("a token is required", _ref("Error"))
_WRONG: Final = _answer("a parameter is wrong", _ref("Error"))


def _get(summary: str, schema: Json, parameters: list[Json] | None = None, more: Json | None = None) -> Json:
    responses = {"200": _answer("the answer", schema), **(more or {}), "401": _NO_TOKEN}
    if parameters:
        responses["400"] = _WRONG
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def description(version: str) -> Json:
    """The document served at /api/v1/openapi.json."""
    page = _object({"total": _WHOLE, "offset": _WHOLE, "tags": _list(_ref("Tag"))})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Edge gateway", "version": version, "description": "Read-only view of the running daemon."},
        "security": [{}, {"token": []}],
        "paths": {
            "/api/v1/health": _get("Overview", _ref("Health")),
            "/api/v1/devices": _get("Devices and their links", _object({"devices": _list(_ref("Device"))})),
            "/api/v1/tags": _get("Newest reading of each tag", page, _offset_and_limit(1_000_000)),
            "/api/v1/upstreams": _get("Brokers and their links", _object({"upstreams": _list(_ref("Upstream"))})),
            "/api/v1/losses": _get("What was lost", _object({"total": _COUNTS, "losses": _list(_ref("Event"))})),
            "/api/v1/events": _get(
                "Newest events and log lines", _object({"events": _list(_ref("Event")), "log": _list(_ref("Line"))})
            ),
            "/api/v1/openapi.json": _get("This description", {"type": "object"}),
            "/api/v1/stream": {
                "get": {
                    "summary": "Server-sent events: health, devices, upstreams, tags, losses, events, log",
                    "parameters": _offset_and_limit(200),
                    "responses": {
                        "200": {"description": "one event per kind and change", "content": {"text/event-stream": {}}},
                        "400": _WRONG,
                        "401": _NO_TOKEN,
                        "503": _answer("too many pages are open", _ref("Error")),
                    },
                }
            },
            "/healthz": _get(
                "Whether the daemon works; details only with the token",
                {"type": "object", "properties": {"status": _TEXT}, "required": ["status"]},
                [_parameter("strict", {"enum": ["0", "1"]}, "503 where a device or upstream is down")],
                {
                    "503": {
                        "description": "the daemon has stalled, or strict and something is down",
                        "content": {"application/json": {}},
                    }
                },
            ),
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
