"""Compile the Triton kernels for GPUs that need not be here; print what they use.

python benchmarks/triton_kernels.py
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mmseg_fastscnn.ops import upsample_triton

KERNELS = ('argmax_kernel', 'loss_kernel', 'gradient_kernel')
CAPABILITIES = (80, 90, 100)  # A100; H100 and H200; B200


def compiled(capability: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Compile Triton's kernels; yield their names, and what a thread or block uses.

    Args:
        capability: Compute capability times ten, such as 90.
    """
    pixels = upsample_triton.PIXELS
    constants = dict(USE_SIGMOID=False, PIXELS=pixels, CELLS=pixels // 8, ACROSS=8)
    for name in KERNELS:
        kernel = getattr(upsample_triton, name)
        types = {k: type_of(k, constants) for k in kernel.arg_names}
        aligned = {  # as torch's memory is
            (k,): [['tt.divisibility', 16]]
            for k, kind in enumerate(types.values())
            if kind.startswith('*')
        }
        used = {k: v for k, v in constants.items() if k in types}
        source = ASTSource(kernel, types, used, aligned)
        binary = triton.compile(source, target=GPUTarget('cuda', capability, 32))
        yield name, resources(binary)


def type_of(argument: str, constants: dict) -> str:
    """Return Triton's name for the type of a kernel's argument."""
    if argument in constants:
        return 'constexpr'
    if argument in upsample_triton.NUMBERS:
        return 'i32'
    special = dict(labels='*u8', label='*u8', hits='*i32')
    start = dict(start_ys='*i32', start_xs='*i32')
    return (special | start).get(argument, '*fp32')


def resources(binary: triton.compiler.CompiledKernel) -> dict[str, int]:
    """Read what a compiled kernel uses, with the program that comes with Triton.

    Returns:
        `registers` and `spilled` bytes per thread, `shared` bytes per block, `threads`
        per block, and the percent of a multiprocessor's 2048 threads that fit its
        65,536 registers.
    """
    program = Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(binary.asm['cubin'])
        file.flush()
        command = [program, '--dump-resource-usage', file.name]
        text = subprocess.check_output(command, text=True)
    found = {key: int(value) for key, value in re.findall(r'(\w+):(\d+)', text)}
    registers, threads = found['REG'], 32 * binary.metadata.num_warps
    blocks = 65536 // (-(-registers // 8) * 8 * threads)
    return dict(
        registers=registers,
        spilled=found['LOCAL'] + found['STACK'],
        shared=binary.metadata.shared,
        threads=threads,
        occupancy=100 * min(blocks * threads, 2048) // 2048,
    )


def main() -> None:
    # the default of Triton 3.9, which warns that it will be another one in 3.10
    os.environ.setdefault('TRITON_DEFAULT_FP_FUSION', '1')
    columns = ('registers', 'spilled', 'shared', 'threads', 'occupancy')
    print('| GPU, kernel |', ' | '.join(columns), '|')
    print('|---' * (1 + len(columns)) + '|')
    for capability in CAPABILITIES:
        for name, used in compiled(capability):
            cells = ' | '.join(str(used[column]) for column in columns)
            print(f'| sm_{capability}, `{name}` | {cells} |')


if __name__ == '__main__':
    main()
