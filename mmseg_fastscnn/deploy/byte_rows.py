"""ONNX graphs whose first convolution reads the bytes of a frame as they lie in memory.

onnxruntime takes a third of the time of all INT8 layers to turn bytes (N, H, W, C) into
planes of floats (N, C, H, W). But those bytes are also one plane (N, 1, H, W*C). In it
a kernel of k*C columns with a stride of s*C columns reads what a kernel of k with a
stride of s reads in C planes.
"""

import numpy as np

# The padding is zero after the mean is subtracted, so before that it is the mean.
PADDED_ROWS = """
padded_rows (uint8[n, h, w, c] frame) => (float[n, one, rows, columns] byte_rows) {
  byte_n = Shape <start = 0, end = 1> (frame)
  byte_w = Shape <start = 2, end = 3> (frame)
  byte_size = Shape <start = 1, end = 3> (frame)
  byte_over = Mod (byte_size, byte_divisor)
  byte_lacking = Sub (byte_divisor, byte_over)
  byte_beyond = Mod (byte_lacking, byte_divisor)
  byte_last = Add (byte_beyond, byte_padding)
  byte_below, byte_right = Split <axis = 0, num_outputs = 2> (byte_last)
  byte_top_shape = Concat <axis = 0> (byte_n, byte_padding, byte_w, byte_channels)
  byte_top = Expand (byte_mean, byte_top_shape)
  byte_bottom_shape = Concat <axis = 0> (byte_n, byte_below, byte_w, byte_channels)
  byte_bottom = Expand (byte_mean, byte_bottom_shape)
  byte_tall = Concat <axis = 1> (byte_top, frame, byte_bottom)
  byte_h = Shape <start = 1, end = 2> (byte_tall)
  byte_before_shape = Concat <axis = 0> (byte_n, byte_h, byte_padding, byte_channels)
  byte_before = Expand (byte_mean, byte_before_shape)
  byte_after_shape = Concat <axis = 0> (byte_n, byte_h, byte_right, byte_channels)
  byte_after = Expand (byte_mean, byte_after_shape)
  byte_whole = Concat <axis = 2> (byte_before, byte_tall, byte_after)
  byte_shape = Concat <axis = 0> (byte_n, byte_one, byte_h, byte_rest)
  byte_plane = Reshape (byte_whole, byte_shape)
  byte_rows = Cast <to = 1> (byte_plane)
}
"""


def read_byte_rows(graph, size_divisor: int) -> None:
    """Change an ONNX graph so that its first convolution reads rows of bytes.

    The mean moves from the pixels into the bias and the padding. In the padding it is
    rounded to a whole byte, so results at the frame's border change a little.

    Args:
        graph: `onnx.GraphProto` of a `FrameModel`.
        size_divisor: Frames are padded to a multiple of it.
    """
    from onnx import helper, numpy_helper, parser

    values = {one.name: one for one in graph.initializer}
    conv = next(node for node in graph.node if node.op_type == 'Conv')
    weight, bias = (numpy_helper.to_array(values[name]) for name in conv.input[1:])
    _, channels, height, width = weight.shape
    mean = np.zeros(channels, np.float32)
    for node in nodes_to(graph, conv.input[0]):
        assert node.op_type in ('Cast', 'Transpose', 'Sub', 'Pad'), node.op_type
        if node.op_type == 'Sub':
            mean = numpy_helper.to_array(values[node.input[1]]).reshape(channels)
        graph.node.remove(node)
    options = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
    in_rows = weight.transpose(0, 2, 3, 1).reshape(-1, 1, height, width * channels)
    new = {
        conv.input[1]: in_rows,
        conv.input[2]: bias - weight.sum((2, 3)) @ mean,
        'byte_mean': mean.round().clip(0, 255).astype(np.uint8).reshape(1, 1, 1, -1),
        'byte_padding': np.array(options['pads'][:1], np.int64),
        'byte_divisor': np.array([size_divisor], np.int64),
        'byte_channels': np.array([channels], np.int64),
        'byte_one': np.array([1], np.int64),
        'byte_rest': np.array([-1], np.int64),
    }
    for name, array in new.items():
        value = values.get(name) or graph.initializer.add()
        value.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))
    down, right = options['strides']
    options |= dict(strides=[down, right * channels], pads=[0, 0, 0, 0])
    options |= dict(kernel_shape=[height, width * channels])
    rows = helper.make_node(
        'Conv', ['byte_rows', *conv.input[1:]], conv.output, conv.name, **options
    )
    conv.CopyFrom(rows)
    nodes = [*parser.parse_graph(PADDED_ROWS).node, *graph.node]
    del graph.node[:], graph.value_info[:]  # notes of shapes, some of which are others
    graph.node.extend(nodes)


def nodes_to(graph, name: str) -> list:
    """Return the nodes between the frame and a value that is made of it, in order."""
    made_by = {output: node for node in graph.node for output in node.output}
    nodes = []
    while name != 'frame':
        nodes.append(made_by[name])
        name = nodes[-1].input[0]
    return nodes[::-1]
