"""The interface as a page for people: made from its description, of this server alone, and without a script."""

import html
from typing import Any

STYLE = """\
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
code { font-family: ui-monospace, monospace; }
table { border-collapse: collapse; margin: 0.5rem 0 1rem; }
th, td { padding: 0.1rem 1rem 0.1rem 0; text-align: left; vertical-align: top; }
h2 { margin: 1.5rem 0 0; font-size: 1.1rem; }
p { margin: 0.2rem 0; }
:root { color-scheme: light dark; }
"""


def reference(description: dict[str, Any]) -> str:
    """Returns the page.

    Args:
        description: as ``openapi`` gives it.
    """
    about = description["info"]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(about['title'])}: interface</title>",
        '<link rel="stylesheet" href="/docs.css"></head><body>',
        f"<h1>{html.escape(about['title'])} {html.escape(about['version'])}</h1>",
        f'<p>{html.escape(about["description"])} As a file: <a href="/openapi.json">/openapi.json</a>.</p>',
    ]
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(f"<p>{html.escape(route['summary'])}</p>")
            parts += _fields(route.get("requestBody", {}))
    return "\n".join([*parts, "</body></html>", ""])


def _fields(body: dict[str, Any]) -> list[str]:
    rows = []
    for content in body.get("content", {}).values():
        required = content["schema"].get("required", [])
        for name, schema in content["schema"].get("properties", {}).items():
            needed = "needed" if name in required else ""
            rows.append(f"<tr><td><code>{html.escape(name)}</code></td><td>{_kind(schema)}</td><td>{needed}</td></tr>")
    return ["<table>", *rows, "</table>"] if rows else []


def _kind(schema: dict[str, Any]) -> str:
    if "oneOf" in schema:
        return " or ".join(_kind(each) for each in schema["oneOf"])
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}s"
    return html.escape(schema["type"])
