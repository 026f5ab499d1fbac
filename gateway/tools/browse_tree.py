"""Walks an OPC UA server's tree breadth first, a few nodes a call, and reads what its variables are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from gateway.field.opcua.session import Session, translated
from gateway.tools.browse_report import Variable

_PER_CALL: Final = 50
_MOST_REFERENCES: Final = 100
_WRITE_BIT: Final = 2  # AccessLevel, part 3, 8.57
_SERVER: Final = ua.NodeId(ua.Int32(ObjectIds.Server))
_OBJECTS: Final = ua.NodeId(ua.Int32(ObjectIds.ObjectsFolder))
_HIERARCHICAL: Final = ua.NodeId(ua.Int32(ObjectIds.HierarchicalReferences))

Path = tuple[str, ...]
Place = tuple[Path, ua.NodeId]


async def walk(session: Session, depth: int, tell: Callable[[int, int], None]) -> AsyncIterator[Place]:
    """Every variable below Objects (the server's own diagnostics left out), each once, down to `depth` levels.

    `tell` gets the level and the number of nodes seen. LinkError where the server refuses to be browsed.
    """
    seen = {_OBJECTS, _SERVER}
    level: list[Place] = [((), _OBJECTS)]
    for number in range(1, depth + 1):
        below: list[Place] = []
        for part in _chunks(level):
            for (path, _), references in zip(part, await _children(session, part), strict=True):
                for reference in references:
                    node = _local(reference.NodeId)
                    if node in seen:
                        continue
                    seen.add(node)
                    place = (*path, str(reference.BrowseName.Name)), node
                    below.append(place)
                    if reference.NodeClass == ua.NodeClass.Variable:
                        yield place
            tell(number, len(seen))
        level = below


async def describe(session: Session, places: Sequence[Place], *, values: bool) -> list[Variable]:
    """What the variables are; their values too where wanted. A variable that refuses is described as far as it goes."""
    found: list[Variable] = []
    attributes = [AttributeIds.DataType, AttributeIds.ValueRank, AttributeIds.UserAccessLevel, AttributeIds.Value]
    size = max(1, min(session.limits.get("read", _PER_CALL), 500) // len(attributes))
    for part in _chunks(places, size):
        wanted = attributes if values else attributes[:-1]
        parameters = ua.ReadParameters(
            NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=each) for _, node in part for each in wanted]
        )
        with translated("reading attributes"):
            answers = await session.services.read(parameters)
        for number, (path, node) in enumerate(part):
            row = [_value(answer) for answer in answers[number * len(wanted) : (number + 1) * len(wanted)]]
            found.append(_variable(path, node, row, answers[(number + 1) * len(wanted) - 1], values=values))
    return found


def _variable(path: Path, node: ua.NodeId, row: Sequence[Any], last: ua.DataValue, *, values: bool) -> Variable:
    data_type, rank, access = row[:3]
    name = _type_name(data_type)
    if values and last.Value is not None and name not in {each.name for each in ua.VariantType}:
        name = last.Value.VariantType.name  # a derived type: what it is made of
    found = Variable(
        path,
        node.to_string(),
        name,
        array=isinstance(rank, int) and rank >= 0,
        writable=isinstance(access, int) and bool(access & _WRITE_BIT),
    )
    if not values:
        return found
    status = last.StatusCode
    return replace(found, value=str(row[3]) if status is None or status.is_good() else status.name)


def _type_name(node: Any) -> str:
    if not isinstance(node, ua.NodeId) or node.NamespaceIndex != 0:
        return "?" if not isinstance(node, ua.NodeId) else node.to_string()
    try:
        return ua.VariantType(int(str(node.Identifier))).name
    except ValueError:
        return node.to_string()


def _value(answer: ua.DataValue) -> Any:
    return None if answer.Value is None else answer.Value.Value


async def _children(session: Session, places: Sequence[Place]) -> list[list[ua.ReferenceDescription]]:
    parameters = ua.BrowseParameters(
        View=ua.ViewDescription(),
        RequestedMaxReferencesPerNode=ua.UInt32(_MOST_REFERENCES),
        NodesToBrowse=[_description(node) for _, node in places],
    )
    with translated("browsing"):
        results = await session.services.browse(parameters)
        found = [list(result.References or ()) for result in results]
        points = {number: result.ContinuationPoint for number, result in enumerate(results) if result.ContinuationPoint}
        while points:
            more = ua.BrowseNextParameters(ReleaseContinuationPoints=False, ContinuationPoints=list(points.values()))
            answers = await session.services.browse_next(more)
            for number, answer in zip(list(points), answers, strict=True):
                found[number] += answer.References or ()
                if answer.ContinuationPoint:
                    points[number] = answer.ContinuationPoint
                else:
                    del points[number]
    return found


def _description(node: ua.NodeId) -> ua.BrowseDescription:
    return ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=_HIERARCHICAL,
        IncludeSubtypes=True,
        NodeClassMask=ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable),
        ResultMask=ua.UInt32(ua.BrowseResultMask.All),
    )


def _local(node: ua.NodeId) -> ua.NodeId:
    """A reference's target as a plain node id, comparable with others."""
    return ua.NodeId(node.Identifier, node.NamespaceIndex, node.NodeIdType)


def _chunks(places: Sequence[Place], size: int = _PER_CALL) -> Iterator[Sequence[Place]]:
    return (places[start : start + size] for start in range(0, len(places), size))
