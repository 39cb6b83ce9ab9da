"""Reading an exported model so that it takes less memory and gives the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def read_model(openvino: Any, path: Path) -> Any:  # noqa: ANN401 - openvino is untyped
    """Read a model that is to be compiled.

    Tables of embeddings are exported as int8 codes and a scale a row. The engine would decode the
    whole table in every process, 47 MB for 30,522 words; here a row is decoded when it is looked
    up, by the same product, and the codes stay in the file, which processes share.

    Args:
        openvino: the module.
        path: of the model's XML.

    Raises:
        RuntimeError: the engine cannot read it.
    """
    model = openvino.Core().read_model(path)
    for gather in model.get_ordered_ops():
        if gather.get_type_name() == "Gather":
            _decode_rows(openvino.opset13, gather)
    return model


def _decode_rows(operations: Any, gather: Any) -> None:  # noqa: ANN401 - openvino is untyped
    table, ids, axis = (port.get_source_output() for port in gather.inputs())
    match _made_of(table, "Multiply"):
        case (decoded, scales) if codes := _made_of(decoded, "Convert"):
            if _is_constant(codes[0]) and _is_constant(scales) and _has_row_each(scales, codes[0]):
                found = operations.convert(operations.gather(codes[0], ids, axis), "f32")
                row = operations.multiply(found, operations.gather(scales, ids, axis))
                gather.output(0).replace(row.output(0))


def _made_of(output: Any, kind: str) -> list[Any]:  # noqa: ANN401 - openvino is untyped
    """What goes into the operation that an output comes from; nothing if it is another one."""
    node = output.get_node()
    if node.get_type_name() != kind:
        return []
    return [port.get_source_output() for port in node.inputs()]


def _is_constant(output: Any) -> bool:  # noqa: ANN401 - openvino is untyped
    return bool(output.get_node().get_type_name() == "Constant")


def _has_row_each(scales: Any, codes: Any) -> bool:  # noqa: ANN401 - openvino is untyped
    return list(scales.get_shape()) == [codes.get_shape()[0], 1]
