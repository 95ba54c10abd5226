"""Print docs/options.md from args.py: python -m tools.options > docs/options.md"""

from typing import Any

from axolotl_grpo_plugin.args import GRPOArgs

HEAD = """# YAML keys

These optional keys are the plugin's, for `rl: grpo` and `rl: gdpo`. [Axolotl's keys](https://docs.axolotl.ai) include `trl.beta` (KL),
`trl.temperature` and `trl.reward_weights`. A path `pkg://PACKAGE/...` is a file inside an installed package.

| Key | Type | Description |
| --- | --- | --- |
"""


def page() -> str:
    """Return docs/options.md."""
    properties = GRPOArgs.model_json_schema()["properties"]
    rows = [f"| `{key}` | {_type(value)} | {_line(value)} |" for key, value in properties.items()]
    return HEAD + "\n".join(rows) + "\n"


def _line(schema: dict[str, Any]) -> str:
    """Return the description, which has line breaks in args.py, as one line."""
    return " ".join(schema["description"].split())


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return "list"
    if schema.get("type") == "object":
        return "map"
    return str(schema.get("type", "map"))


if __name__ == "__main__":
    print(page(), end="")
