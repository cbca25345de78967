"""Every error that pairbench raises on purpose; each message is one line: what is wrong, and how to fix it."""


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
