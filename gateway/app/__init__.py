"""Builds all stages from a configuration and runs them in one task group: the only part that knows them all."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def run_daemon(file: Path) -> int:
    """Run the daemon until SIGTERM; the exit code. ConfigError and FileNotFoundError pass."""
    from gateway.app.kernels import compile_aside, warm_kernels  # noqa: PLC0415  # the cache is chosen before numba is imported
    from gateway.config import load  # noqa: PLC0415
    from gateway.runtime.logs import configure  # noqa: PLC0415
    from gateway.runtime.systemd import Notifier  # noqa: PLC0415

    faulthandler.enable()
    configuration = load(file, running=True)
    logs = configure(configuration.root.log.level, configuration.root.log.devices)
    for warning in configuration.warnings:
        log.warning("%s", warning)
    notifier = Notifier.from_environment()

    async def main() -> None:
        async with notifier.extending():
            await compile_aside()
            await asyncio.to_thread(warm_kernels)
        from gateway.app.serve import serve  # noqa: PLC0415  # imports what uses kernels

        await serve(configuration, logs, notifier)

    asyncio.run(main())
    return 0
