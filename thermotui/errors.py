"""The one exception whose text is meant for the person at the terminal."""


class InputError(Exception):
    """Bad input: one clear sentence that names the file, the field and the mend.

    The command line prints it on stderr and exits with status 2; the screen shows it as a card.
    """
