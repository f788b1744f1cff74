"""Where a run can be watched and compared: Lightning loggers by name, and W&B, which never fails or slows a run.

:func:`tracked` goes around a whole run, so that W&B hears of test numbers and of how the run ended, and not only of its
training curves. What `tinyrm sync` uploads later is found by :mod:`tinyrm.tracking.syncing`.
"""

from tinyrm.tracking.session import Session, say_where, tracked

__all__ = ["Session", "say_where", "tracked"]
