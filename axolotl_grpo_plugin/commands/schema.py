"""`axolotl-grpo check --schema`: the JSON schema of a config with this plugin's keys."""

import json
from typing import Any

import click
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticSerializationError
from pydantic_core.core_schema import EnumSchema

from axolotl_grpo_plugin.checks.validation import loaded_plugins
from axolotl_grpo_plugin.config import PLUGIN, Config


class _Schema(GenerateJsonSchema):
    """Writes the values of torch as text. Axolotl's schema has an enumeration of torch's dtypes."""

    def enum_schema(self, schema: EnumSchema) -> JsonSchemaValue:
        """Return the schema of an enumeration."""
        try:
            return super().enum_schema(schema)
        except PydanticSerializationError:
            return {"enum": [member.name for member in schema["members"]]}

    def encode_default(self, dft: Any) -> Any:
        """Return a default value as JSON has it."""
        try:
            return super().encode_default(dft)
        except PydanticSerializationError:
            return str(dft)


def run() -> None:
    """Print the schema. `axolotl config-schema` prints one without the keys of plugins."""
    from axolotl.integrations.config import merge_input_args

    with loaded_plugins(Config({"plugins": [PLUGIN]})):
        _, model = merge_input_args()
    schema = model.model_json_schema(schema_generator=_Schema)
    schema["title"] = "Axolotl with axolotl-grpo-plugin"
    click.echo(json.dumps(schema, indent=2))
