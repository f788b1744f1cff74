"""How much memory a worker holds, and whether that is its trial's doing."""

from __future__ import annotations

from pathlib import Path

from .leases import Host

_LEFT = 0.1  # of the limit: what a trial that was ended may leave behind, before its worker is replaced


class Memory:
    """The memory of one worker under `sweep.trial_memory_gb`.

    A worker that is replaced when it ends counts whole: its process is what the machine has to bear. In one that is
    not, what trials before have left behind is nobody's fault, and nothing can be done about it.

    Args:
        most: GB; None where there is no limit.
        host: the process it runs in.
    """

    def __init__(self, most: float | None, host: Host) -> None:
        self._most, self._host = most, host
        self._fresh = self._spared = 0.0 if most is None else held_gb()

    def begin(self) -> None:
        """A trial begins."""
        if self._most is not None:
            self._spared = 0.0 if self._host.replaced else max(0.0, held_gb() - self._fresh)

    def excess(self) -> str | None:
        """What to say of a trial that has taken too much; None as long as it has not."""
        taken = 0.0 if self._most is None else held_gb() - self._spared
        if self._most is None or taken <= self._most:
            return None
        return f"took {taken:.1f} GB; sweep.trial_memory_gb={self._most:g}"

    def is_spoilt(self) -> bool:
        """Whether a trial that was ended has left so much behind that another process should take this one's place."""
        return self._most is not None and self._host.replaced and held_gb() - self._fresh > _LEFT * self._most


def held_gb() -> float:
    """Memory that this process alone has to answer for, in GB; 0 where the system does not say.

    Pages of files that it has mapped are the system's to drop, and do not count.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0.0
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if "Rss" in name}
    parts = ("RssAnon", "RssShmem") if "RssAnon" in kib else ("VmRSS",)  # before Linux 4.5 there are no parts
    return 1024 * sum(kib.get(part, 0) for part in parts) / 1e9
