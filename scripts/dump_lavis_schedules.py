#!/usr/bin/env python3
"""Prints tests/data/train/lavis_lr_schedules.json: the learning rates that LAVIS's schedulers set, per epoch and step.

Needs LAVIS (pip install salesforce-lavis) and torch; never needed by a user of the library.
"""
import json

import torch
from lavis.common.optims import LinearWarmupCosineLRScheduler

LONG = [0, 50, 100, 500, 833, 4999, 5000, 6000]
RUNS = [
    (range(4),
     dict(max_epoch=3, min_lr=1e-5, init_lr=1e-4, warmup_steps=3, warmup_start_lr=1e-6)),
    (LONG,
     dict(max_epoch=10, min_lr=1e-5, init_lr=1e-4, warmup_steps=5000, warmup_start_lr=1e-6)),
    (range(3), dict(max_epoch=5, min_lr=0, init_lr=1e-5, warmup_steps=0)),
    (range(6),
     dict(max_epoch=1, min_lr=0, init_lr=1e-5, warmup_steps=2, warmup_start_lr=1e-8)),
]

result = []
for steps, settings in RUNS:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)
    schedule = LinearWarmupCosineLRScheduler(optimizer=optimizer, **settings)
    rows = []
    for epoch in range(settings["max_epoch"]):
        for step in steps:
            schedule.step(cur_epoch=epoch, cur_step=step)
            rows.append([epoch, step, optimizer.param_groups[0]["lr"]])
    result.append(dict(scheduler="linear_warmup_cosine_lr", settings=settings, epoch_step_lr=rows))
print(json.dumps(result, indent=1))
