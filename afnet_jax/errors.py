"""The project's exceptions: faults that a user can correct.

Every message is one line that says what is wrong, where, what was expected, what was found and what to do.
Command lines print it without a traceback and exit with 1; anything else that is raised is a bug of ours.
"""


class AFNetError(Exception):
    """A fault in what the user gave: a file, a folder, a config field, a run folder."""


class ConfigError(AFNetError):
    """A config field, variant or combination of them that cannot be run."""


class DatasetError(AFNetError):
    """A prepared data set that is missing, incomplete, damaged or unfit for the config."""


class RunError(AFNetError):
    """A run folder that cannot be continued, evaluated or analysed."""


class Interrupted(RunError):
    """The run was asked to stop, has saved its state and can go on."""


class WeightsError(AFNetError):
    """Pretrained weights that are missing, damaged or of another network."""


def in_one_line(error: BaseException) -> str:
    """Returns an exception's name and message without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split())
