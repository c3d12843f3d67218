"""The API's list, made from the same document that programs read. Nothing is fetched from anywhere."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from dure_hub.operations.people import USE, Person
from dure_hub.services.guard import opens_for
from dure_hub.services.pages.rendering import page
from dure_hub.services.places import API, BASE

router = APIRouter(include_in_schema=False)
public = APIRouter(include_in_schema=False)

Schema = dict[str, Any]


@public.get(f"{API}/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document of this version. It says nothing about this portal or its people."""
    return JSONResponse(request.app.openapi())


@router.get(f"{BASE}/docs")
async def show(request: Request, person: Annotated[Person, opens_for(USE)]) -> HTMLResponse:
    """Every call with its fields and answers."""
    document = request.app.openapi()
    groups: dict[str, list[Schema]] = {}
    for path, verbs in document["paths"].items():
        for verb, call in verbs.items():
            groups.setdefault(call["tags"][0], []).append(_call(document, path, verb, call))
    return page(request, "docs.html", groups=list(groups.items()))


def _call(document: Schema, path: str, verb: str, call: Schema) -> Schema:
    fields = [
        {"name": field["name"], "kind": _kind(field["schema"]), "required": field.get("required", False)}
        for field in call.get("parameters", ())
    ]
    for content in call.get("requestBody", {}).get("content", {}).values():
        fields += _fields(document, content["schema"])
    return {
        "path": path.removeprefix("/services/dure"),
        "verb": verb.upper(),
        "about": call.get("description", call["summary"]),
        "fields": fields,
        "answers": sorted(call["responses"]),
    }


def _fields(document: Schema, schema: Schema) -> list[Schema]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found = document["components"]["schemas"].get(name, {})
    required = found.get("required", ())
    return [
        {"name": field, "kind": _kind(kind), "required": field in required}
        for field, kind in found.get("properties", {}).items()
    ]


def _kind(schema: Schema) -> str:
    """A field's kind in a few words."""
    if "anyOf" in schema:
        return " | ".join(_kind(kind) for kind in schema["anyOf"])
    text = str(schema.get("format") or schema.get("type") or schema.get("$ref", "").rpartition("/")[2] or "any")
    limits = [f"≥ {schema['minimum']}"] if "minimum" in schema else []
    limits += [f"≤ {schema['maximum']}"] if "maximum" in schema else []
    limits += [str(schema["pattern"])] if "pattern" in schema else []
    return " ".join([text, *limits])
