from __future__ import annotations

from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient

from gateway.config import load
from gateway.errors import LinkError
from gateway.tools.probe import _probe
from gateway.tools.probe_report import Probed
from gateway.tools.simulate import build, simulate
from tests.fakes.simulated import simulated

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"


def _bad(probed: list[Probed]) -> list[str]:
    return [f"{each.tag.full_name}: {each.single} {each.block} {each.again}" for each in probed if not each.fine]


@pytest.mark.parametrize("name", ["welding-cell", "textile-line", "city-sensors"])
async def test_every_tag_of_an_example_reads_well(name: str, tmp_path: Path) -> None:
    async with simulated(EXAMPLES / f"{name}.yaml", tmp_path) as configuration:
        probed = await _probe(configuration, list(configuration.buses.values()))
    assert {each.tag.full_name for each in probed} >= {
        f"{device}.{tag}" for device, bus in configuration.devices() for tag in bus.settings.devices[device].tags
        if "count" not in str(bus.settings.devices[device].tags[tag])
    }  # fmt: skip
    assert not _bad(probed)


async def test_only_writable_tags_can_be_written(tmp_path: Path) -> None:
    async with simulated(EXAMPLES / "welding-cell.yaml", tmp_path) as configuration:
        press = configuration.buses["press-plc"].settings
        client = AsyncModbusTcpClient(press.host, port=press.port)  # type: ignore[attr-defined]  # the driver's own model
        assert await client.connect()
        assert not (await client.write_register(130, 777, device_id=1)).isError()
        assert (await client.write_register(106, 1, device_id=1)).isError()
        assert (await client.read_holding_registers(130, device_id=1)).registers == [777]
        client.close()


async def test_an_address_that_is_not_ours_is_refused_with_a_hint() -> None:
    (part, *_) = build(load(EXAMPLES / "welding-cell.yaml"))
    with pytest.raises(LinkError, match="--remap"):
        async with part.serve(remap=False):
            pass


def test_it_ends_by_itself_and_says_where_things_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "remapped.yaml"
    assert simulate(EXAMPLES / "textile-line.yaml", remap=True, out=out, seconds=0.1) == 0
    assert "frames: modbus-rtu-tcp 192.168.20.31:4001 -> 127.0.0.1:" in capsys.readouterr().out
    assert load(out).root.gateway.name == "stenter-line-1"
