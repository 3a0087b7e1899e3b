"""A coverage-guided fuzzer over the parsers of what strangers send: nothing but the errors that each parser names may escape.

`python -m tests.proof.fuzz` runs each parser in a process of its own; `--seconds 600` for ten minutes each. An input that
fails is written to the directory `--found`, and named.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.proof.fuzz_targets import TARGETS

HANG_SECONDS = 600
"""The time of the clock, in which the process may also be suspended; the fuzzer measures the CPU of an input itself."""
BYTES_MAX = 16_384


def main() -> int:
    """Run the parsers, and return the exit code: 1 if an input made one fail."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=int, default=600, help="the time of each parser")
    options.add_argument("--only", choices=TARGETS, help="one parser")
    options.add_argument("--found", type=Path, help="where failing inputs are written; by default a new directory")
    chosen = options.parse_args()
    found = chosen.found or Path(tempfile.mkdtemp(prefix="firsthour-fuzz-"))
    found.mkdir(parents=True, exist_ok=True)
    failed = [name for name in TARGETS if chosen.only in (None, name) and not holds(name, chosen.seconds, found)]
    print(f"{len(failed)} parsers failed{': ' + ', '.join(failed) if failed else ''}; inputs are in {found}")
    return 1 if failed else 0


def holds(name: str, seconds: int, found: Path, errors: Sequence[str] | None = None) -> bool:
    """Fuzz one parser, and return whether no input made it fail. `errors`: those it may raise; None: those of the target."""
    allowed = TARGETS[name].errors if errors is None else errors
    with tempfile.TemporaryDirectory() as corpus:
        for number, sample in enumerate(TARGETS[name].samples):
            (Path(corpus) / f"{number}").write_bytes(sample)
        settings = (
            f"-max_total_time={seconds}",
            f"-timeout={HANG_SECONDS}",
            f"-max_len={BYTES_MAX}",
            f"-artifact_prefix={found}/{name}-",
            "-print_final_stats=1",
        )
        command = [sys.executable, "-m", "tests.proof.fuzz_targets", name, ",".join(allowed), *settings, corpus]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    runs = next((line.split()[-1] for line in result.stderr.splitlines() if "number_of_executed_units" in line), "0")
    verdict = "holds" if result.returncode == 0 else "FAILED"
    print(f"{name:24} {verdict}, {int(runs):,} inputs", flush=True)
    if result.returncode:
        print("\n".join(result.stdout.splitlines()[-30:] + result.stderr.splitlines()[-30:]))
    return result.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
