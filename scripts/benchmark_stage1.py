#!/usr/bin/env python3
"""Times a training step of stage 1 beside LAVIS's, in turn on the same machine, and prints one table.

    LAVIS_PATH=... BERT_VOCAB=... scripts/benchmark_stage1.py --lavis lavis_step_benchmark.py [--preset small]
        [--batch 8] [--rounds 3] [--steps 4] [--threads 2] [--precision bfloat16] [--python PYTHON]

lavis_step_benchmark.py times LAVIS's own step (forward, backward, AdamW) and prints one JSON line with `s_step` and
`peak_rss_mb`; it needs torch, transformers 4.33, timm 0.4.12 and the unpacked package of
`pip download --no-deps salesforce-lavis==1.0.2` as LAVIS_PATH. BERT_VOCAB is bert-base-uncased's vocab.txt. Ours is
build/bin/stage1_step_benchmark (cmake -DBLIP2_BUILD_BENCHMARKS=ON). Medians leave out the first step of every run.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(command):
    """The JSON object in the last line that a program prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        sys.exit(f"benchmark_stage1.py: {command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(lines[-1])


def ours(args, cached, precision):
    result = run([str(args.bin / "stage1_step_benchmark"), "--preset", args.preset, "--batch", str(args.batch),
                  "--steps", str(args.steps), "--threads", str(args.threads),
                  "--precision", precision, "--tokenizer", str(pathlib.Path(os.environ["BERT_VOCAB"]).parent)] +
                 (["--cached"] if cached else []))
    result["steps"] = [r["step_s"] for r in result["runs"][1:]]
    return result


def lavis(args):
    result = run([args.python, "-W", "ignore", args.lavis, "--preset", args.preset, "--batch", str(args.batch),
                  "--steps", str(args.steps), "--threads", str(args.threads)])
    result["steps"] = result["s_step"][1:]
    return result


def parts(results):
    """Medians of our parts, and the rate of each beside the machine's."""
    runs = [r for result in results for r in result["runs"][1:]]
    median = {key: statistics.median(r[key] for r in runs) for key in runs[0] if key.endswith("_s")}
    work = {"vision_s": results[0]["vision_gflop"], "qformer_s": 3 * results[0]["qformer_gflop"]}
    peak = statistics.median(r["machine_gflops"] for r in results)
    for key, seconds in median.items():
        rate = f", {work[key] / seconds:.0f} of {peak:.0f} GFLOP/s" if key in work and seconds > 0 else ""
        print(f"  {key[:-2]}: {seconds:.2f} s{rate}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lavis", required=True)
    parser.add_argument("--preset", default="small", choices=["small", "full"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", action="append", default=[], choices=["bfloat16", "float16"],
                        help="ours in this precision too; LAVIS has float32 alone on a CPU")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "bin")
    args = parser.parse_args()
    if "BERT_VOCAB" not in os.environ or "LAVIS_PATH" not in os.environ:
        parser.error("set LAVIS_PATH and BERT_VOCAB, see --help")
    ways = {f"blip2, {precision}{', cached' * cached}": (cached, precision)
            for precision in ["float32"] + args.precision for cached in (False, True)}
    names = ["LAVIS", *ways]
    results = {name: [] for name in names}
    for _ in range(args.rounds):
        results["LAVIS"].append(lavis(args))
        for name, (cached, precision) in ways.items():
            results[name].append(ours(args, cached, precision))
    peer = statistics.median(s for r in results["LAVIS"] for s in r["steps"])
    peer_memory = max(r["peak_rss_mb"] for r in results["LAVIS"])
    for name in names:
        seconds = statistics.median(s for r in results[name] for s in r["steps"])
        memory = max(r["peak_rss_mb"] for r in results[name])
        print(f"{name}: {seconds:.2f} s a step ({peer / seconds:.2f} times as fast), "
              f"{memory / 1000:.2f} GB ({100 * memory / peer_memory:.0f} %)")
    for name in names[1:]:
        print(name)
        parts(results[name])


if __name__ == "__main__":
    main()
