"""What can go wrong with a record or a measurement, said in one line."""

from __future__ import annotations

from search_spaces.errors import UserError


class BudgetError(UserError, ValueError):
    """A budget that cannot be read: the message says what was given and what is allowed."""


class DeviceError(UserError, ValueError):
    """A device that is not there: the message says what is."""


class LatencyError(UserError, ValueError):
    """A latency that cannot be measured as asked: the message says what can."""


class BenchLost(LatencyError):
    """The worker that measured died: another may measure."""


class ProfileError(UserError, ValueError):
    """A device profile that does not fit what it is used for."""


class ProfileDamaged(ProfileError):
    """A device profile that is truncated, was edited by hand, or is none."""

    exit_code = 5


class CheckpointError(UserError, ValueError):
    """Weights that cannot be what the trials of a run start from: the message names the file and what is wrong."""


class PrecisionError(UserError, RuntimeError):
    """The precisions that a run may train in could not be compared: the message says why."""


class WorkerLost(UserError, RuntimeError):
    """The worker that was to answer something died."""

    exit_code = 1


class DeviceLost(UserError, RuntimeError):
    """A worker's device does not compute any more, whatever it is asked."""

    exit_code = 1


class MachineFailing(UserError, RuntimeError):
    """No worker starts, or worker after worker is lost, whatever they try: what had ended is kept."""

    exit_code = 1


class NodeDiffers(UserError, RuntimeError):
    """A machine of the cluster whose data or space are not the driver's: the message names it."""

    exit_code = 1


class TaskError(UserError, ValueError):
    """A network and data that do not belong together: the message says what would."""


class UncountedError(UserError, NotImplementedError):
    """An operation of a network whose cost nothing knows: the message names it."""


class StoreError(UserError, RuntimeError):
    """A run's record that cannot be used; the file is left as it was."""


class StoreDamaged(StoreError):
    """`study.db` is truncated, not a database, or fails its integrity check."""

    exit_code = 5


class DiskFull(UserError, OSError):
    """There is no room where something is to be written: the message names the file."""

    exit_code = 1


class StoreBusy(StoreError):
    """Another process has locked `study.db` for longer than is waited; nothing is wrong with it."""

    exit_code = 1


class StoreUnreachable(StoreError):
    """`study.db` cannot be read or written now, for its rights or its disk: nothing is known to be wrong with it."""

    exit_code = 1


class RunInUse(StoreError):
    """Another process is writing this run's record."""


class LeaseLost(StoreError):
    """This process was the writer of a run's record and is not any more: another one took over."""

    exit_code = 1
