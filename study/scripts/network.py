"""Time training steps on devices of other machines, and count what crosses the network.

    cargo build --release -p fcos-burn-study -p fcos-burn-cli --bins --features remote
    python3 study/scripts/network.py --bench target/release/bench --fcos-burn target/release/fcos-burn

Two servers of one thread each run on the loopback address. The devices of a training are shares of
this machine's CPU (`cpu`) and the servers (`a`, `b`). Each row is the median of the turns: steps a
second, and what a step sends to the servers and receives from them, in MB. The second table says
what this means for many machines: the time that the bytes alone take, if the first device is local
and gathers the gradients of all others, and if they are reduced along a ring.
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
    "r50-2x320": ["--preset", "paper", "--image-size", "320x320", "--batch-size", "2"],
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


def measure(args, flags, layout):
    """Steps a second, and bytes sent and received in a step."""
    servers = {name: Server(args.fcos_burn) for name in "ab" if name in layout.split(",")}
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
    for server in servers.values():
        server.stop()
    report = json.loads(found.stdout)["step"]
    [step] = report["device"]
    # Two devices of one server share its traffic.
    traffic = report.get("traffic", [])
    total = lambda key: sum(device[key] for device in traffic)
    return 1e3 / statistics.median(step["milliseconds"]), total("sent"), total("received")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bench", required=True)
    parser.add_argument("--fcos-burn", required=True)
    parser.add_argument("--cases", default="small,r50-2x320", help=", ".join(CASES))
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
            print(f"| {case} | `{layout}` | {speed} | {sent:.2f} | {received:.2f} |", flush=True)
        shared[case] = found["cpu,a"][-1][1:]
    print()
    print("| Detector | Machines | Gbit/s | Gathered, ms | Ring, ms |")
    print("|---|---|---|---|---|")
    for case, (sent, received) in shared.items():
        for machines in [8, 64, 512]:
            for rate in [10, 100]:
                # Both directions at once; the first machine's own connection carries all.
                gathered = 8e3 * (machines - 1) * max(sent, received) / (rate * 1e9)
                ring = 8e3 * 2 * (machines - 1) / machines * received / (rate * 1e9)
                print(f"| {case} | {machines} | {rate} | {gathered:.1f} | {ring:.1f} |")


if __name__ == "__main__":
    main()
