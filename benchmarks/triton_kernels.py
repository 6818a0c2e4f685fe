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
    pixels, rows = upsample_triton.PIXELS, upsample_triton.ROWS
    of_cells = dict(ROWS=rows, CELLS=pixels // 8, ACROSS=8)
    constants = dict(USE_SIGMOID=False, PIXELS=pixels, **of_cells)
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
        target = GPUTarget('cuda', capability, 32)
        binary = triton.compile(source, target=target, options=dict(num_warps=1))
        yield name, resources(binary, rows)


def type_of(argument: str, constants: dict) -> str:
    """Return Triton's name for the type of a kernel's argument."""
    if argument in constants:
        return 'constexpr'
    if argument in upsample_triton.NUMBERS:
        return 'i32'
    special = dict.fromkeys(('labels', 'label'), '*u8')
    special |= dict.fromkeys(('hits', 'start_ys', 'start_xs'), '*i32')
    return special.get(argument, '*fp32')


def resources(binary: triton.compiler.CompiledKernel, pixels: int) -> dict[str, float]:
    """Read what a compiled kernel uses, with the programs that come with Triton.

    Args:
        binary: The kernel.
        pixels: How many pixels a thread has.

    Returns:
        `registers` and `spilled` bytes per thread, `shared` bytes per block, `threads`
        per block; `occupancy`, the percent of a multiprocessor's 2048 threads that fit
        its 65,536 registers and 32 blocks; and `instructions` for a pixel and a class,
        those of the loop over the classes.
    """
    text = dump(binary, 'cuobjdump', '--dump-resource-usage')
    found = {key: int(value) for key, value in re.findall(r'(\w+):(\d+)', text)}
    registers, threads = found['REG'], 32 * binary.metadata.num_warps
    blocks = min(65536 // (-(-registers // 8) * 8 * threads), 32)
    return dict(
        registers=registers,
        spilled=found['LOCAL'] + found['STACK'],
        shared=binary.metadata.shared,
        threads=threads,
        occupancy=100 * min(blocks * threads, 2048) // 2048,
        instructions=longest_loop(dump(binary, 'nvdisasm', '-c')) / pixels,
    )


def dump(binary: triton.compiler.CompiledKernel, program: str, option: str) -> str:
    path = Path(triton.__file__).parent / 'backends/nvidia/bin' / program
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(binary.asm['cubin'])
        file.flush()
        # standard error warns that it knows sm_100 in an older form only
        command = [path, option, file.name]
        return subprocess.check_output(command, stderr=subprocess.PIPE, text=True)


def longest_loop(listing: str) -> int:
    """Count the instructions between a label and the last jump back to it."""
    place, loops, count = {}, [], 0
    for line in listing.splitlines():
        if label := re.match(r'(\.L_\w+):', line):
            place[label[1]] = count
        elif instruction := re.match(r'\s+/\*[0-9a-f]{4,}\*/\s+(.*);', line):
            count += 1
            jump = re.search(r'BRA.*`\((\.L_\w+)\)', instruction[1])
            if jump and jump[1] in place:
                loops.append(count - place[jump[1]])
    return max(loops)


def main() -> None:
    # the default of Triton 3.9, which warns that it will be another one in 3.10
    os.environ.setdefault('TRITON_DEFAULT_FP_FUSION', '1')
    columns = ('registers', 'spilled', 'shared', 'threads', 'occupancy')
    columns += ('instructions',)
    print('| GPU, kernel |', ' | '.join(columns), '|')
    print('|---' * (1 + len(columns)) + '|')
    for capability in CAPABILITIES:
        for name, used in compiled(capability):
            cells = ' | '.join(f'{used[column]:.4g}' for column in columns)
            print(f'| sm_{capability}, `{name}` | {cells} |')


if __name__ == '__main__':
    main()
