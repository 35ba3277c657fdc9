"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """A mistake the user can mend: the command line prints it as one line and exits with code 2.

    The message says what is wrong and what to do about it.
    """
