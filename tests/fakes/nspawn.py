"""A real Debian with a real systemd as its first process, in a container of its own; it shares the machine's network.

Needs root, systemd-nspawn and, for the first time, debootstrap and a Debian mirror. The root file system is kept in
GATEWAY_TEST_CACHE (default /var/tmp/gateway-tests).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from tests.fakes.waiting import wait_for

CACHE = Path(os.environ.get("GATEWAY_TEST_CACHE", "/var/tmp/gateway-tests"))  # noqa: S108  # root's own, 0700
MIRROR = os.environ.get("GATEWAY_TEST_MIRROR", "http://deb.debian.org/debian")
_PACKAGES = "systemd,systemd-sysv,dbus,python3-minimal,python3-venv,procps"
_BOOT = """
mount --make-rprivate /
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$2"
echo $$ >"/sys/fs/cgroup/$2/cgroup.procs"
exec systemd-nspawn --quiet --directory="$1" --boot --register=no --keep-unit --machine="$2" --resolv-conf=off \
    --timezone=off --link-journal=no --console=pipe --bind-ro="$3:/media/wheels"
"""
_SWEEP = """
mount --make-rprivate /
mount -t cgroup2 cgroup2 /sys/fs/cgroup
find "/sys/fs/cgroup/$1" -depth -type d -delete
"""
_PROBE = (
    "mount --make-rprivate / && mount -t cgroup2 cgroup2 /sys/fs/cgroup && mkdir /sys/fs/cgroup/probe.$$ && rmdir $_"
)
_APART = ("unshare", "--mount", "--propagation", "private", "bash", "-euc")
_INSIDE = ("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", "env", "-i", "LC_ALL=C.UTF-8")
_PATH = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing(suite: str) -> str:
    """Why no such machine can be started here; empty where it can."""
    if os.geteuid() != 0:
        return "not root"
    programs = ["systemd-nspawn", "nsenter", "unshare", "tar", "zstd"]
    if not _archive(suite).exists():
        programs.append("debootstrap")
    lacking = [f"no {name}" for name in programs if shutil.which(name) is None]
    if not lacking and subprocess.run([*_APART, _PROBE], check=False, capture_output=True).returncode != 0:
        lacking.append("no right to mount (a container?)")
    return ", ".join(lacking)


def _archive(suite: str) -> Path:
    return CACHE / f"{suite}.tar.zst"


@contextmanager
def cache() -> Iterator[Path]:
    """The folder of what is made once, ours alone while inside."""
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield CACHE


def unpack_root(target: Path, suite: str) -> None:
    """A fresh Debian with systemd and Python in `target`."""
    archive = _archive(suite)
    with cache() as folder:
        if not archive.exists():
            made = folder / suite
            shutil.rmtree(made, ignore_errors=True)
            subprocess.run(
                ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, str(made), MIRROR],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            (made / "etc/hosts").write_text("127.0.0.1 localhost\n")
            part = archive.with_suffix(".part")
            subprocess.run(["tar", "-C", str(made), "--zstd", "-cf", str(part), "."], check=True)
            part.rename(archive)
            shutil.rmtree(made)
    target.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(target), "--zstd", "-xf", str(archive)], check=True)


class Machine:
    """One running Debian of a suite (bookworm, trixie); `wheels` appears inside as /media/wheels."""

    def __init__(self, root: Path, wheels: Path, suite: str) -> None:
        self.root = root
        self.suite = suite
        self._wheels = wheels
        self._name = f"gateway-test-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Machine:
        unpack_root(self.root, self.suite)
        with (self.root.parent / "console").open("wb") as console:
            self._process = process = subprocess.Popen(
                [*_APART, _BOOT, "boot", str(self.root), self._name, str(self._wheels)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._init = int(wait_for(lambda: self._first_process(process.pid), "a first process"))
            up = {"running", "degraded"}
            wait_for(lambda: self.run("systemctl", "is-system-running", check=False) in up, "the boot")
        except AssertionError:
            self._end(process)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._end(self._process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if self._init:
            self.run("systemctl", "poweroff", check=False)
        try:
            process.wait(timeout=60 if self._init else 1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)
        subprocess.run([*_APART, _SWEEP, "sweep", self._name], check=False)

    @staticmethod
    def _first_process(container: int) -> str:
        """The container's systemd; before it there is a helper of nspawn's for a moment."""
        try:
            children = Path(f"/proc/{container}/task/{container}/children").read_text().split()
            return next((pid for pid in children if Path(f"/proc/{pid}/comm").read_text() == "systemd\n"), "")
        except OSError:
            return ""

    def run(self, *command: str, check: bool = True, timeout_s: float = 300) -> str:
        """What a command inside prints, both streams; AssertionError with that where it fails and `check` is set."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._init), *_INSIDE, _PATH, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout.strip()

    def show(self, unit: str, key: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "-P", key, unit)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file inside."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A command inside that runs on its own."""
        return subprocess.Popen(
            ["nsenter", "-t", str(self._init), *_INSIDE, _PATH, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
