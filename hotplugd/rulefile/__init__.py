"""YAML text into rules, or into diagnostics with places."""
