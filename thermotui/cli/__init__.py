"""The command line (Typer): one small file per command."""
