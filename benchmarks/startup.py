"""How long `luce --help` takes: the median wall time of a number of fresh processes.

python benchmarks/startup.py --runs 9
"""

import argparse
import statistics
import subprocess
import sys
import time


def seconds() -> float:
    """Wall time of one `luce --help`, from start to exit."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "luce", "--help"], capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    seconds()  # the first one compiles bytecode
    times = sorted(seconds() for _ in range(runs))
    print(
        f"luce --help: median {statistics.median(times):.3f} s of {runs} runs "
        f"({times[0]:.3f} to {times[-1]:.3f})"
    )


if __name__ == "__main__":
    main()
