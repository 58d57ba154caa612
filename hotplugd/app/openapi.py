"""The control socket's OpenAPI document, made from its rows and from the types of the documents.

OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0): schemas are JSON Schema 2020-12.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Literal, TypeAlias, Union, get_args, get_origin, get_type_hints, is_typeddict

from hotplugd import __version__
from hotplugd.app.endpoints import ENDPOINTS, Endpoint

Json: TypeAlias = dict[str, object]

_PLAIN: Mapping[object, Json] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    object: {},
}


def openapi() -> Json:
    """The document."""
    schemas: dict[str, Json] = {
        "Error": {
            "type": "object",
            "description": "Why there is no answer.",
            "properties": {"error": {"type": "string"}},
            "required": ["error"],
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hotplugd's control socket",
            "version": __version__,
            "description": "HTTP on the unix socket /run/hotplugd/control.sock. Documents get more keys in "
            "later versions; under /1 none is renamed or removed.",
        },
        "servers": [{"url": "http://localhost", "description": "Any name does: it is a unix socket."}],
        "paths": {each.path: {each.method.lower(): _operation(each, schemas)} for each in ENDPOINTS},
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Json]) -> Json:
    media = "application/x-ndjson" if endpoint.lines else "application/json"
    document: Json = {media: {"schema": schema(endpoint.gives, schemas)}}
    operation: Json = {
        "operationId": endpoint.name.replace("/", "-"),
        "description": endpoint.about,
        "x-verb": endpoint.verb,
        "parameters": [
            {"name": name, "in": "query", "description": about, "schema": {"type": "string"}}
            for name, about in endpoint.query.items()
        ],
        "responses": {
            status: {"description": about, "content": content}
            for status, about, content in _responses(endpoint, document)
        },
    }
    if endpoint.takes is not None:
        body = {"application/json": {"schema": schema(endpoint.takes, schemas)}}
        operation["requestBody"] = {"content": body}
    return operation


def _responses(endpoint: Endpoint, document: Json) -> Iterator[tuple[str, str, Json]]:
    yield "200", "The document.", document
    if endpoint.method == "POST":
        yield "409", "What was asked for is not done; the document says why.", document
    if endpoint.name == "health":
        yield "503", "The daemon is down; the document says why.", document
    error: Json = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    if endpoint.slow:
        yield "503", "The daemon cannot say it now: ask again.", error
    yield "400", "What was asked for is wrong.", error
    yield "403", "Whoever asks may not.", error


def schema(kind: object, schemas: dict[str, Json]) -> Json:
    """The JSON Schema of a type of documents. schemas: gets those of all TypedDicts in it, by name."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_typeddict(kind):
        assert isinstance(kind, type)
        name = kind.__name__.removesuffix("Json")
        if name not in schemas:
            schemas[name] = {}
            keys = get_type_hints(kind)
            schemas[name] = {
                "type": "object",
                "description": " ".join((inspect.getdoc(kind) or "").split()),
                "properties": {key: schema(each, schemas) for key, each in keys.items()},
                "required": [key for key in keys if key in vars(kind)["__required_keys__"]],
            }
        return {"$ref": f"#/components/schemas/{name}"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (list, tuple):
        return {"type": "array", "items": schema(arguments[0], schemas)}
    if origin is dict or origin is Mapping:
        return {"type": "object", "additionalProperties": schema(arguments[1], schemas)}
    if origin in (Union, UnionType):
        return {"anyOf": [schema(each, schemas) for each in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    raise TypeError(f"there is no schema of {kind}")
