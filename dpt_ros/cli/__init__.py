"""The `dpt-ros` command: one module a subcommand."""
