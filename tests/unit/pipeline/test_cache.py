"""Each start in a process of its own: numba reads its environment once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

# Two kinds are enough to show what happens to a cache, and compile in a second.
SCRIPT = """
import json, logging, sys
from pathlib import Path
logging.basicConfig(format="%(message)s")
from gateway.pipeline import cache, warm
{patch}
prepared = cache.prepare_cache([Path(name) for name in {sources!r}])
assert "numba" not in sys.modules
warm.KINDS = ("deadband", "on-change")
report = warm.warm(prepared)
from gateway.pipeline.engine import Pipeline
from gateway.pipeline.settings import STEPS
from gateway.readings import Readings, Tag, TagTable
import numpy as np
line = Pipeline(TagTable([Tag("a", "b")]), {{0: STEPS.validate_python([{{"deadband": {{"absolute": 1}}}}])}})
kept = line.process(Readings(np.zeros(3, np.uint32), np.arange(3), np.array([0.0, 0.5, 2.0]), np.zeros(3, np.uint8)))
print(json.dumps({{"kept": kept.value.tolist(), "directory": str(report.cache.directory or ""),
                  "compiled": report.compiled, "problem": report.problem}}))
"""


class Start:
    def __init__(self, place: Path, patch: str = "", sources: tuple[str, ...] = ()) -> None:
        code = SCRIPT.format(patch=patch, sources=sources)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"CACHE_DIRECTORY": str(place), "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["kept"] == [0.0, 2.0]
        self.directory = result["directory"]
        self.compiled = result["compiled"]
        self.problem = result["problem"]
        self.log = done.stderr


def files(place: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cache")
    Start(place)
    return place


@pytest.fixture
def warmed(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "warmed"))


def test_the_second_start_compiles_nothing(tmp_path: Path) -> None:
    place = tmp_path / "missing" / "cache"
    first = Start(place)
    assert (first.compiled, first.problem, first.log) == (2, "", "")
    assert Path(first.directory).stat().st_mode & 0o777 == 0o700
    before = files(place)
    second = Start(place)
    assert (second.compiled, second.problem, second.directory) == (0, "", first.directory)
    assert files(place) == before


def test_another_source_gets_another_directory_and_one_unused_for_long_goes(tmp_path: Path) -> None:
    source = tmp_path / "kernels.py"
    directories = []
    for number in range(3):
        source.write_text(f"A = {number}")
        start = Start(tmp_path / "cache", sources=(str(source),))
        assert (start.compiled, start.log) == (2, "")
        directories.append(Path(start.directory))
        if number == 0:
            os.utime(directories[0], (0, 0))
    assert len(set(directories)) == 3
    assert sorted((tmp_path / "cache").iterdir()) == sorted(directories[1:])


def test_starts_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        starts = list(pool.map(Start, [tmp_path] * 3))
    assert {(start.problem, start.log) for start in starts} == {("", "")}
    assert len({start.directory for start in starts}) == 1
    assert [path.name for path in tmp_path.iterdir()] == [Path(starts[0].directory).name]
    assert Start(tmp_path).compiled == 0


@pytest.mark.parametrize("kind", ["nowhere", "file", "open to all", "full"])
def test_without_a_usable_directory_it_starts_and_says_so(made: Path, tmp_path: Path, kind: str) -> None:
    place, patch = tmp_path / "cache", ""
    if kind == "nowhere":
        place = Path("/proc/nowhere")
    elif kind == "file":
        place.write_text("no directory")
    elif kind == "open to all":
        shutil.copytree(made, place)
        place.chmod(0o777)
    else:
        patch = "cache._FREE = 1 << 60"
    start = Start(place, patch)
    assert start.directory == ""
    assert start.compiled == 2
    assert start.problem
    assert "compiled at every start" in start.log


def damage(place: Path, how: str) -> None:
    data = sorted(place.rglob("*.nbc"))
    index = sorted(place.rglob("*.nbi"))
    if how == "flipped":
        content = bytearray(data[0].read_bytes())
        content[len(content) // 2] ^= 1
        data[0].write_bytes(content)
    elif how == "cut":
        for path in index:
            path.write_bytes(path.read_bytes()[:20])
    elif how == "emptied":
        for path in [*index, *data]:
            path.write_bytes(b"")
    elif how == "file gone":
        data[0].unlink()
    elif how == "manifest gone":
        next(place.rglob("manifest.json")).unlink()
    elif how == "manifest garbled":
        next(place.rglob("manifest.json")).write_text("[")


@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "file gone", "manifest gone", "manifest garbled"])
def test_a_damaged_cache_is_deleted_and_made_again(warmed: Path, how: str) -> None:
    damage(warmed, how)
    again = Start(warmed)
    assert (again.compiled, bool(again.problem)) == (2, True)
    assert "compiled again" in again.log
    after = Start(warmed)
    assert (after.compiled, after.problem) == (0, "")


@pytest.mark.parametrize("how", ["cut", "emptied"])
def test_damage_that_the_manifest_does_not_show_is_survived(warmed: Path, how: str) -> None:
    damage(warmed, how)
    patch = "cache._verified = lambda directory: ''"
    again = Start(warmed, patch)
    assert again.compiled > 0
    assert "kernel cache fails" in again.problem
    assert Start(warmed).compiled == 0


def test_a_disk_that_fills_up_while_compiling_is_survived(tmp_path: Path) -> None:
    patch = """
import gateway.compiled
def full(self, name, data):
    raise OSError(28, "No space left on device")
real = gateway.compiled.kernel
def kernel(function):
    from numba.core import caching
    caching.IndexDataCacheFile._save_data = full
    return real(function)
gateway.compiled.kernel = kernel
"""
    start = Start(tmp_path, patch)
    assert "No space left" in start.problem
    after = Start(tmp_path)
    assert (after.compiled, after.problem) == (2, "")
