"""Time training steps on devices of other machines, and count what crosses the network.

    cargo build --release --workspace --bins --features wgpu,remote
    python3 study/scripts/network.py --bench target/release/bench --fcos-burn target/release/fcos-burn

Without a GPU feature, more bytes are sent. Up to two servers with one thread each run on the loopback address.
The devices of training are threads of this machine's CPU (`cpu`) and the servers (`a`, `b`). Each row is the
median of the turns: steps per second, and what a step sends to the servers and receives from them, in MB. The
second table has upper bounds by the network alone, if the client sends the weights to all servers and gathers
their gradients, as this program does, or with a ring all-reduce.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

# Flags of `bench`, and the rows that are measured.
CASES = {
    "small": ["--preset", "small", "--image-size", "160x120", "--batch-size", "8"],
    "paper-2x320": ["--preset", "paper", "--image-size", "320x320", "--batch-size", "2"],
}
LAYOUTS = ["cpu", "cpu,cpu", "a", "cpu,a", "a,b"]


class Server:
    def __init__(self, program):
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0"],
            env=os.environ | {"RAYON_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self.process.stdout.readline().strip()

    def stop(self):
        self.process.kill()
        self.process.wait()


def bench(args, flags, layout, servers):
    """The report of `bench`."""
    devices = [servers[name].address if name in servers else name for name in layout.split(",")]
    threads = max(1, sum(name == "cpu" for name in layout.split(",")))
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        source = {"shapes": {"train_images": 16, "val_images": 1, "width": 320, "height": 240}}
        config.write_text(json.dumps({"data": {"source": source}}))
        command = [args.bench, "--config", str(config), *flags, "--devices", ",".join(devices)]
        command += ["--parts", "step", "--warm-up", "1", "--rounds", str(args.rounds)]
        environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
        found = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
    return json.loads(found.stdout)["step"]


def measure(args, flags, layout):
    """Steps a second, and bytes sent and received in a step."""
    servers = {name: Server(args.fcos_burn) for name in "ab" if name in layout.split(",")}
    try:
        report = bench(args, flags, layout, servers)
    finally:
        for server in servers.values():
            server.stop()
    [step] = report["device"]
    # Two devices of one server share its traffic.
    traffic = report.get("traffic", [])
    total = lambda key: sum(device[key] for device in traffic)
    return 1e3 / statistics.median(step["milliseconds"]), total("sent"), total("received")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bench", required=True)
    parser.add_argument("--fcos-burn", required=True)
    parser.add_argument("--cases", default="small,paper-2x320", help=", ".join(CASES))
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print("| Detector | Devices | Steps per second | Sent, MB | Received, MB |")
    print("|---|---|---|---|---|")
    shared = {}
    for case in args.cases.split(","):
        found = {layout: [] for layout in LAYOUTS}
        for _ in range(args.turns):
            for layout in LAYOUTS:
                found[layout].append(measure(args, CASES[case], layout))
        for layout, turns in found.items():
            speeds = [turn[0] for turn in turns]
            speed = f"{statistics.median(speeds):.2f} ({min(speeds):.2f}–{max(speeds):.2f})"
            sent, received = turns[-1][1] / 1e6, turns[-1][2] / 1e6
            print(f"| {case} | `{layout}` | {speed} | {sent:.4g} | {received:.3g} |", flush=True)
        shared[case] = found["cpu,a"][-1][1:]
    print()
    print("| Detector | Machines | Gbit/s | Gathered, steps per second | Ring, steps per second |")
    print("|---|---|---|---|---|")
    for case, (sent, received) in shared.items():
        for machines in [8, 64, 512]:
            for rate in [10, 100]:
                # Both directions at once; all goes through the connection of the first machine.
                gathered = (machines - 1) * max(sent, received)
                ring = 2 * (machines - 1) / machines * received
                bounds = [rate * 1e9 / 8 / size for size in (gathered, ring)]
                row = " | ".join(f"{bound:.3g}" for bound in bounds)
                print(f"| {case} | {machines} | {rate} | {row} |")


if __name__ == "__main__":
    main()
