"""Every error that pairbench raises on purpose; each message is one line: what is wrong, and how to fix it."""

import errno

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class PairbenchError(Exception):
    """The base class of all errors that pairbench raises on purpose."""


class InputError(PairbenchError, ValueError):
    """The input is wrong; the command line exits with code 2."""


class SpecError(InputError):
    """A word of a spec, an option or a suite file is wrong."""


class MismatchError(InputError):
    """Two parts are each valid but do not fit together; the message says how to fix it."""


class DataError(InputError):
    """The data that a dataset needs is missing, damaged or too small."""


class StoreError(PairbenchError):
    """The result store cannot be read or written."""


class WorkerError(PairbenchError):
    """A training process could not be started, or ended before it had finished."""


def refuse_exhaustion(error: Exception) -> None:
    """Stop where `error` says that this process has run out of files or memory: nothing is wrong with what it read.

    Raises:
        StoreError: it has.
    """
    code = error.errno if isinstance(error, OSError) else None
    if code in _EXHAUSTED:
        fix = "Free some memory" if code == errno.ENOMEM else "Raise the limit, such as with 'ulimit -n 4096',"
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else ""
        raise StoreError(f"{reason}. {fix} and run the same command again; finished rounds are kept.") from error
