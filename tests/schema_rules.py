"""When a change of a contract breaks those who use it, as rules over two JSON Schemas.

An input must go on to read whatever it read: no new required field, no field that goes away, no narrower type. An
output must go on to keep whatever it promised: no field that goes away or becomes optional, no wider type. The second
is the first with old and new changed round, but for new fields, which an output may have.

Knows what pydantic writes: ``type``, ``enum``, ``const``, ``anyOf``, ``$ref``, objects, arrays and bounds.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def input_breaks(released: Schema, current: Schema) -> list[str]:
    """What a producer of the released contract would notice; empty if nothing."""
    gone = _properties_gone(_Place(released, released), _Place(current, current), "")
    return [*gone, *_narrowings(_Place(released, released), _Place(current, current), "")]


def output_breaks(released: Schema, current: Schema) -> list[str]:
    """What a consumer of the released contract would notice; empty if nothing."""
    return list(_narrowings(_Place(current, current), _Place(released, released), ""))


class _Place:
    """A schema inside its document."""

    def __init__(self, root: Schema, schema: Schema) -> None:
        self._root = root
        self.schema = schema

    def at(self, schema: Schema) -> "_Place":
        while "$ref" in schema:
            schema = self._root["$defs"][schema["$ref"].rpartition("/")[2]]
        return _Place(self._root, schema)

    def by_type(self) -> dict[str, "_Place"]:
        """The alternatives by JSON type; one that names none takes every value."""
        options = [self.at(option) for option in self.schema.get("anyOf", [self.schema])]
        return {option.schema.get("type", "any"): option for option in options}

    def properties(self) -> dict[str, "_Place"]:
        return {name: self.at(field) for name, field in self.schema.get("properties", {}).items()}


def _narrowings(wide: _Place, narrow: _Place, path: str) -> Iterator[str]:
    """Why some value that ``wide`` takes is not taken by ``narrow``."""
    taken = narrow.by_type()
    for kind, option in wide.by_type().items():
        other = taken.get(kind) or (taken.get("number") if kind == "integer" else None) or taken.get("any")
        if other is None:
            yield f"{path or 'value'}: {kind} against {', '.join(taken)}"
        else:
            yield from _value_narrowings(option, other, path)


def _value_narrowings(wide: _Place, narrow: _Place, path: str) -> Iterator[str]:
    yield from (f"{path}: {name}" for name in _bounds(wide.schema, narrow.schema))
    allowed, values = _values(narrow.schema), _values(wide.schema)
    if allowed is not None and (values is None or not values <= allowed):
        yield f"{path}: values {sorted((values or set()) - allowed) or 'any'}"
    required = set(narrow.schema.get("required", ())) - set(wide.schema.get("required", ()))
    yield from (f"{path}.{name}: required" for name in sorted(required))
    fields = narrow.properties()
    for name, field in wide.properties().items():
        if name in fields:
            yield from _narrowings(field, fields[name], f"{path}.{name}")
    if "items" in wide.schema and "items" in narrow.schema:
        yield from _narrowings(wide.at(wide.schema["items"]), narrow.at(narrow.schema["items"]), f"{path}[]")


def _properties_gone(released: _Place, current: _Place, path: str) -> Iterator[str]:
    for kind, option in released.by_type().items():
        other = current.by_type().get(kind)
        if other is None:
            continue
        fields = other.properties()
        for name, field in option.properties().items():
            if name not in fields:
                yield f"{path}.{name}: gone"
            else:
                yield from _properties_gone(field, fields[name], f"{path}.{name}")
        if "items" in option.schema and "items" in other.schema:
            items = option.at(option.schema["items"]), other.at(other.schema["items"])
            yield from _properties_gone(*items, f"{path}[]")


def _bounds(wide: Schema, narrow: Schema) -> Iterator[str]:
    """Names of the bounds that are tighter."""
    for name in _LOWER:
        if narrow.get(name, float("-inf")) > wide.get(name, float("-inf")):
            yield name
    for name in _UPPER:
        if narrow.get(name, float("inf")) < wide.get(name, float("inf")):
            yield name


def _values(schema: Schema) -> set[str] | None:
    """The values that an enumeration takes, or None if it is none."""
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return None if listed is None else set(listed)
