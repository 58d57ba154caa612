"""hotplugd schema"""

from __future__ import annotations

import click


@click.command()
@click.argument("which", type=click.Choice(["rules", "config", "hooks"]), default="rules")
def command(which: str) -> None:
    """Print the JSON Schema of rule files, of the configuration or of hooks, for editors.

    An editor with a language server for YAML completes keys by it, says what they mean, and marks mistakes;
    a file names it in its first line: `# yaml-language-server: $schema=/PATH`. What an editor takes,
    `hotplugd check` may still refuse: it knows more than a schema can say.
    """
    from hotplugd.app import config_schema
    from hotplugd.hooks import schema as hooks_schema
    from hotplugd.rulefile import json_schema

    schemas = {"rules": json_schema, "config": config_schema, "hooks": hooks_schema}
    click.echo(schemas[which].as_text(), nl=False)
