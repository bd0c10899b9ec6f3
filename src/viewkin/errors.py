"""The one exception a user ever sees."""


class UserError(Exception):
    """Bad input, told in one sentence that says what is wrong and what to do.

    The command line prints it as ``error: <sentence>`` and exits with ``exit_code``; nothing is left half-written.
    """

    exit_code = 2
    """Exit code of the process: 2, bad input."""


def require(condition: bool, name: str, value: object, should: str) -> None:
    """Check a setting.

    Raises:
        UserError: the condition does not hold; "<name> is <value>; it must be <should>".
    """
    if not condition:
        raise UserError(f"{name} is {value!r}; it must be {should}.")
