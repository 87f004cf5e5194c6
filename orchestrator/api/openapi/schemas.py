"""The JSON schemas of the models, as tools understand them that make clients of the document."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

_REF = "#/components/schemas/{model}"


class _Schemas(GenerateJsonSchema):
    """Writes a map so that a generated client has it.

    Generators know `additionalProperties` and take no notice of `patternProperties`: they would drop every member.
    """

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Describe the names of a map by `propertyNames`, and its values by `additionalProperties`."""
        found = super().dict_schema(schema)
        for pattern, values in found.pop("patternProperties", {}).items():
            found["additionalProperties"] = values
            found["propertyNames"] = {"pattern": pattern} | found.get("propertyNames", {})
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Give no field a title, because it would only repeat the name."""
        return False


def reference(model: type[BaseModel]) -> dict[str, str]:
    """The reference to a model's schema."""
    return {"$ref": _REF.format(model=model.__name__)}


def make_schemas(bodies: Iterable[type[BaseModel]], answers: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Make the schemas of the bodies and the answers, and of all that they hold, by name."""
    modes: dict[type[BaseModel], JsonSchemaMode] = dict.fromkeys(answers, "serialization")
    modes |= dict.fromkeys(bodies, "validation")
    _, models = models_json_schema(list(modes.items()), by_alias=True, ref_template=_REF, schema_generator=_Schemas)
    found: dict[str, Any] = models["$defs"]
    return found
