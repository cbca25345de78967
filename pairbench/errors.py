"""Every error that pairbench raises on purpose; each message is one line that says what is wrong and the mend."""


class PairbenchError(Exception):
    """The root of all errors that pairbench raises on purpose."""


class InputError(PairbenchError, ValueError):
    """What the user asked for cannot be done as written; the command line exits with 2."""


class SpecError(InputError):
    """A word of a spec, an option or a suite file is wrong."""


class MismatchError(InputError):
    """Two parts are each right but do not fit together; the message names the mend."""


class DataError(InputError):
    """The data that a dataset needs is missing, damaged or too small."""


class StoreError(PairbenchError):
    """The result store cannot be read or written."""


class WorkerError(PairbenchError):
    """The process that trains could not be started or ended before its work was done."""
