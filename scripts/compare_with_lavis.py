#!/usr/bin/env python3
"""Trains LAVIS's Blip2Qformer on the batches that a stage-1 run of blip2 recorded, from the same weights, and draws both.

    LAVIS_PATH=FOLDER compare_with_lavis.py --run RUN --output DIR [--steps 200] [--threads 2] [--double]

Needs what lavis_peer.py needs, safetensors and matplotlib. RUN is a run of train_stage1 with train.record_steps=200,
dropout 0 and loss.positives=own. LAVIS gets the recorded ids, negatives and learning rates in place of its own; dropout is 0. With --double
it computes in float64. Writes losses.json and curves.svg to DIR and prints by how much the losses differ.
"""
import argparse
import json
import pathlib
import sys
import warnings

import matplotlib
import torch
from matplotlib import pyplot
from safetensors import SafetensorError
from safetensors.torch import load_file

import lavis_peer
from lavis_peer import check, fail, setting

LOSSES = {"total": "loss", "contrastive": "loss_itc", "matching": "loss_itm", "generation": "loss_lm"}  # ours: LAVIS's
COLOURS = {"total": "#333333", "contrastive": "#1f5fa8", "matching": "#b5451b", "generation": "#2c7a3f"}
# What has one value in LAVIS, or would make two runs incomparable.
FIXED = {
    "model.vision_config.hidden_act": "gelu",
    "model.vision_config.post_layer_norm_eps": 1e-5,
    "model.qformer_config.hidden_act": "gelu",
    "model.qformer_config.hidden_dropout_prob": 0.0,
    "model.qformer_config.attention_probs_dropout_prob": 0.0,
    "loss.label_smoothing": 0.1,
    "vision.layer_decay": 1.0,
    "train.accumulation_steps": 1,
    "train.max_grad_norm": 0.0,
    "train.decay_temperature": True,
    "train.precision": "float32",
}


def read_config(run):
    path = run / "checkpoint" / "config.json"
    check(path.is_file(), f"'{run}' holds no run: '{path}' does not exist")
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        fail(f"'{path}' is no JSON: {error}")
    for name, expected in FIXED.items():
        value = setting(config, name, 0.1 if "dropout" in name else expected)
        check(value == expected, f"{name} is {value}, and only a run with {expected} can be compared with LAVIS")
    return config


def read_log(path, steps):
    """Our losses and the learning rate of each step."""
    check(path.is_file(), f"'{path}' does not exist")
    rows = []
    for number, text in enumerate(path.read_text().splitlines()[:steps], 1):
        try:
            line = json.loads(text)
            values = {"total": line["loss"], "learning_rate": line["learning_rate"]} | line["losses"]
            rows.append({name: float(values[name]) for name in (*LOSSES, "learning_rate")})
        except (ValueError, KeyError, TypeError):
            fail(f"'{path}': line {number} lacks a loss or the learning rate of a stage-1 step")
        check(line.get("step") == number, f"'{path}': line {number} is of step {line.get('step')}")
        check(not line.get("skipped"), f"'{path}': step {number} was skipped, which LAVIS never does")
    check(len(rows) == steps, f"'{path}' has {len(rows)} steps, and --steps asks for {steps}")
    return rows


def recorded_files(folder, steps):
    files = {int(path.stem[5:]): path for path in folder.glob("step-*.safetensors") if path.stem[5:].isdigit()}
    lacking = next((number for number in range(1, 1 + steps) if number not in files), None)
    check(lacking is None, f"'{folder}' lacks the batch of step {lacking}, and --steps asks for {steps} of them")
    return [files[number] for number in range(1, 1 + steps)]


def read_batch(path, image_size, ids_may_repeat):
    try:
        batch = load_file(path)
    except (OSError, SafetensorError) as error:
        fail(f"cannot read '{path}': {error}")
    names = ("pixels", "input_ids", "attention_mask", "negative_image_rows", "negative_text_rows")
    lacking = [name for name in names if name not in batch]
    check(not lacking, f"'{path}' lacks {' and '.join(lacking)}")
    size = len(batch["pixels"])
    check(size > 1, f"'{path}' has a batch of {size}, and LAVIS needs at least 2")
    for name, shape in (("pixels", (size, 3, image_size, image_size)), (names[3], (size,)), (names[4], (size,))):
        check(batch[name].shape == shape, f"'{path}': {name} is {list(batch[name].shape)}, expected {list(shape)}")
    check(not batch["input_ids"][batch["attention_mask"] == 0].any(), f"'{path}': padding has other ids than 0")
    check("image_ids" not in batch or ids_may_repeat or len(batch["image_ids"].unique()) == size,
          f"'{path}': image_ids repeat, and this LAVIS takes none; record a run with loss.positives=own")
    return batch


def make_folder(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"cannot create '{path}': {error.strerror}")


def train(model, config, log, files):
    """LAVIS's losses in each step."""
    image_size, ids_may_repeat = setting(config, "model.vision_config.image_size"), lavis_peer.knows_image_ids(model)
    optimizer = lavis_peer.make_optimizer(model, config)
    rows = []
    for row, path in zip(log, files):
        losses = lavis_peer.losses(model, read_batch(path, image_size, ids_may_repeat))
        for group in optimizer.param_groups:
            group["lr"] = row["learning_rate"]
        optimizer.zero_grad()
        losses.loss.backward()
        optimizer.step()
        rows.append({ours: losses[theirs].item() for ours, theirs in LOSSES.items()})
        if len(rows) % 20 == 0:
            print(f"LAVIS: step {len(rows)} of {len(log)}, loss {rows[-1]['total']:.4f}", file=sys.stderr, flush=True)
    return rows


def print_table(differences):
    """The largest difference up to some steps."""
    steps = len(differences["total"])
    print("| steps | " + " | ".join(differences) + " |\n" + "|---" * (len(differences) + 1) + "|")
    for last in sorted({min(steps, mark) for mark in (10, 50, 100, 200, steps)}):
        print(f"| 1-{last} | " + " | ".join(f"{max(values[:last]):.1e}" for values in differences.values()) + " |")


def draw(path, ours, theirs, differences):
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "curves", "axes.spines.top": False, "axes.spines.right": False})
    figure, (above, below) = pyplot.subplots(2, sharex=True, figsize=(8, 7), height_ratios=(3, 2), layout="constrained")
    steps, thin = range(1, len(ours) + 1), dict(linewidth=1.1)
    thick = dict(alpha=0.3, linewidth=5, solid_capstyle="round")
    floor = min((value for values in differences.values() for value in values if value > 0), default=1e-16)  # for zeros
    for name, colour in COLOURS.items():
        above.plot(steps, [row[name] for row in theirs], color=colour, **thick)
        above.plot(steps, [row[name] for row in ours], color=colour, label=name, **thin)
        below.plot(steps, [max(value, floor) for value in differences[name]], color=colour, **thin)
    above.plot([], [], color=COLOURS["total"], label="LAVIS (thick, light)", **thick)
    above.plot([], [], color=COLOURS["total"], label="blip2 (thin, dark)", **thin)
    above.legend(ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    above.set(ylabel="loss (nats)", ylim=(0, None))
    below.set(xlabel="optimizer step", ylabel="relative difference of the losses", yscale="log", xlim=(1, len(ours)))
    for axes in (above, below):
        axes.grid(color="#e4e4e4", linewidth=0.6)
    figure.savefig(path, metadata={"Date": None})


def compare(arguments):
    config = read_config(arguments.run)
    ours = read_log(arguments.run / "log.jsonl", arguments.steps)
    files = recorded_files(arguments.run / "recorded", arguments.steps)
    make_folder(arguments.output)
    lavis_peer.lend_lavis()
    torch.set_num_threads(arguments.threads)
    model = lavis_peer.make_model(config, arguments.double)
    lavis_peer.load_weights(model, arguments.run / "recorded" / "initial.safetensors")
    theirs = train(model, config, ours, files)
    differences = {name: [abs(a[name] - b[name]) / abs(b[name]) for a, b in zip(ours, theirs)] for name in LOSSES}
    result = {"torch": torch.__version__, "lavis_dtype": str(model.temp.dtype), "blip2": ours, "lavis": theirs,
              "relative_difference": differences}
    (arguments.output / "losses.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(arguments.output / "curves.svg", ours, theirs, differences)
    print_table(differences)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "output"):
        parser.add_argument("--" + name, type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--double", action="store_true")
    arguments = parser.parse_args()
    check(arguments.steps >= 1 and arguments.threads >= 1, "--steps and --threads must be at least 1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    compare(arguments)


if __name__ == "__main__":
    main()
