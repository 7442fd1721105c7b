"""What a process has used so far, as Linux tells it; and servers that can be asked for it."""

import os
from pathlib import Path

from tests.servers import Influx1, Mosquitto, Server


def cpu_s(pid: int) -> float:
    """CPU time of all its threads, user and system, since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Its memory, in 10^6 bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


class Observed(Server):
    """A server whose use of the processor can be seen."""

    @property
    def cpu_s(self) -> float:
        """Since it was started."""
        assert self._process is not None
        return cpu_s(self._process.pid)


class Broker(Observed, Mosquitto):
    """Mosquitto."""


class Database(Observed, Influx1):
    """InfluxDB 1.x. With `is_compacting` it puts all it has into its final files without delay."""

    is_compacting = False

    def command(self) -> list[str]:
        command = super().command()
        if not self.is_compacting:
            return command
        names = ("CACHE_SNAPSHOT_WRITE_COLD_DURATION", "COMPACT_FULL_WRITE_COLD_DURATION")
        return ["env", *(f"INFLUXDB_DATA_{name}=1s" for name in names), *command]
