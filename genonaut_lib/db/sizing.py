"""How large the embedded PostgreSQL may be on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

from genonaut_lib.settings import ServerSettings

_MIB = 1024 * 1024


def tuning(settings: ServerSettings) -> dict[str, str]:
    """Return the settings of postgresql.conf for a server that may use `memory_share` of this machine."""
    share = int(_machine_memory() * settings.memory_share)
    cores = os.cpu_count() or 1
    values = {
        "shared_buffers": f"{max(32, min(share // 2 // _MIB, 8192))}MB",
        "effective_cache_size": f"{max(64, share // _MIB)}MB",
        "maintenance_work_mem": f"{max(32, min(share // 8 // _MIB, 1024))}MB",
        "work_mem": f"{max(4, min(share // 64 // _MIB, 64))}MB",
        "max_wal_size": "8GB",
        "wal_buffers": "64MB",
        "checkpoint_timeout": "15min",
        "max_parallel_workers": str(cores),
        "max_parallel_maintenance_workers": str(max(1, cores // 2)),
        "random_page_cost": "1.1",
        "track_io_timing": "on",
    }
    if not settings.durable:
        # Throw-away data: a crash of the machine may lose it, a crash of the server may not.
        values |= {"fsync": "off", "full_page_writes": "off"}
    if _small_shared_memory():
        values["dynamic_shared_memory_type"] = "mmap"
    return values


def _machine_memory() -> int:
    """Return this machine's memory in bytes, or its container's limit when that is lower."""
    total = int(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        return min(total, int(text))
    return total


def _small_shared_memory() -> bool:
    """Containers often have 64 MB of /dev/shm, in which a parallel query does not fit."""
    shm = Path("/dev/shm")  # noqa: S108  # looked at, not written to
    return shm.is_dir() and shutil.disk_usage(shm).total < 512 * _MIB
