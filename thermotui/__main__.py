"""`python -m thermotui`: the same as the `thermotui` script."""

from thermotui.cli.main import main

main()
