"""Break down the time of a program by operation, from samples of its call stacks.

    cargo build --release -p fcos-burn-study --config 'profile.release.package.fcos-burn-cpu.debug=1' \\
        --config 'profile.release.strip="none"'
    perf record -F 250 --call-graph dwarf,16384 -o FILE target/release/bench …
    python study/scripts/breakdown.py --binary target/release/bench FILE

A sample counts toward the innermost operation on its stack. Linux distributions package `perf`
and `addr2line`.
"""

import argparse
import collections
import re
import subprocess
from pathlib import Path

# Operations by a pattern of function names. The first match counts.
OPERATIONS = [
    (r"fcos_burn_cpu::convolution::winograd::(tiles|transform|Kernels|TransformKernels|TransformGradients)",
     "Winograd: transforms"),
    (r"fcos_burn_cpu::convolution::winograd::weight_gradient", "Winograd: products, gradient of the weight"),
    (r"fcos_burn_cpu::convolution::winograd", "Winograd: products, forward and gradient of the input"),
    (r"fcos_burn_cpu::convolution::direct::weight_panels", "other convolutions: packing weights"),
    (r"fcos_burn_cpu::convolution::direct::weight_gradient", "other convolutions: gradient of the weight"),
    (r"fcos_burn_cpu::convolution::algorithm::bias_gradient", "gradients of biases"),
    (r"fcos_burn_cpu::convolution", "other convolutions: forward and gradient of the input"),
    (r"fcos_burn_cpu::normalization", "normalization"),
    (r"fcos_burn_cpu::reduction", "normalization"),
    (r"fcos_burn_cpu::activation", "ReLU"),
    (r"fcos_burn_cpu::residual", "adding the gradients of shortcuts"),
    (r"fcos_burn_cpu::pooling", "pooling"),
    (r"fcos_burn_cpu::upsampling", "upsampling"),
    (r"fcos_burn_cpu::(optim|squares)", "optimizer"),
    (r"fcos_burn_cpu::flex::channels_last", "changing the order of memory"),
    (r"burn_flex", "element-wise operations of Burn: loss, accumulation of gradients"),
    (r"fcos_burn_data", "reading and drawing images"),
    (r"burn_autodiff|burn_optim|burn_tensor|burn_core", "rest of Burn"),
    (r"pytorch_reader|burn_store|random", "setup"),
]

# Samples without an operation on their stack, by the innermost function.
LEAVES = [
    (r"fcos_burn_cpu", "kernels without a known caller"),
    (r"memset", "clearing memory"),
    (r"memmove|memcpy", "copying"),
    (r"rayon|crossbeam|sched_yield", "dividing work among threads"),
]


def stacks(path):
    """Yield the frames of each sample as (address, name, file), innermost first."""
    text = subprocess.run(
        ["perf", "script", "-i", path, "--no-inline"], capture_output=True, text=True, check=True
    ).stdout
    for sample in text.split("\n\n"):
        frames = re.findall(r"^\s+([0-9a-f]+) (.*) \((.*)\)$", sample, re.MULTILINE)
        if frames:
            yield [(int(address, 16), name, file) for address, name, file in frames]


def text_offset(binary):
    """The difference between the virtual addresses of the code and its offsets in the file."""
    headers = subprocess.run(["readelf", "-lW", binary], capture_output=True, text=True, check=True)
    for line in headers.stdout.splitlines():
        fields = line.split()
        if fields[:1] == ["LOAD"] and "E" in fields[6:-1]:
            return int(fields[2], 16) - int(fields[1], 16)
    raise SystemExit(f"{binary} has no code")


def functions(binary, addresses):
    """The functions at each address, including inlined ones."""
    addresses = sorted(addresses)
    found = subprocess.run(
        ["addr2line", "-a", "-f", "-i", "-C", "-e", binary],
        input="\n".join(map(hex, addresses)),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {}
    for line in found.splitlines():
        if re.fullmatch(r"0x[0-9a-f]+", line):
            names[int(line, 16)] = current = []
        else:
            current.append(line)
    return names


def operation(frames, names, offset, binary):
    for index, (address, name, file) in enumerate(frames):
        # The return address of a caller points behind its call.
        place = address + offset - (index > 0)
        for name in [*names.get(place, []), name] if file == binary else [name]:
            for pattern, label in OPERATIONS:
                if re.search(pattern, name):
                    return label
    _, innermost, file = frames[0]
    for pattern, label in LEAVES:
        if re.search(pattern, innermost):
            return label
    return "system" if "kernel" in file else "other"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", required=True, help="program that was sampled")
    parser.add_argument("file", help="output of perf record")
    arguments = parser.parse_args()
    binary = str(Path(arguments.binary).resolve())
    offset = text_offset(binary)
    samples = list(stacks(arguments.file))
    places = {
        address + offset - (index > 0)
        for frames in samples
        for index, (address, _, file) in enumerate(frames)
        if file == binary
    }
    if not places:
        raise SystemExit(f"{arguments.file} has no samples of {binary}")
    names = functions(binary, places)
    counts = collections.Counter(operation(frames, names, offset, binary) for frames in samples)
    print("| Operation | Share |\n|---|---|")
    for label, count in counts.most_common():
        print(f"| {label} | {100 * count / len(samples):.1f}% |")


if __name__ == "__main__":
    main()
