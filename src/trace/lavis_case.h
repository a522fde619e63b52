// The reference cases that LAVIS computed: training and inference of both stages, the image encoders' parts, the
// optimizer, the data. Each runs what this library's trainers and programs run, under LAVIS's names.
#pragma once

#include "trace/case_run.h"

namespace blip2 {

/** Runs the case where it is one of LAVIS's -> whether it is. Throws UserError where it lacks what it asks about. */
bool run_lavis_case(CaseRun& run);

// The rooms of the cases, each in a file of its own; all fill run.trace and run.answers.

/** Stage 1: losses with all they are made of, and the gradients; `image_id` in the inputs unfreezes the encoder. */
void run_lavis_stage1(CaseRun& run);
/** The masks of the three objectives, and generation in one pass. */
void run_lavis_masks(CaseRun& run);
/** Stage 1 on two ranks. */
void run_lavis_two_ranks(CaseRun& run);
/** Optimization steps over recorded batches. */
void run_lavis_training(CaseRun& run);
/** Embeddings and matching of every picture with every text. */
void run_lavis_features(CaseRun& run);
/** Captions that the Q-Former writes itself. */
void run_lavis_captioner(CaseRun& run);
/** Contrast, and matching of the best. */
void run_lavis_retrieval(CaseRun& run);
/** Stage 2 with OPT or FlanT5: loss, gradients, answers. */
void run_lavis_stage2(CaseRun& run);
void run_lavis_clip_vit(CaseRun& run);
void run_lavis_positions(CaseRun& run);
void run_lavis_optimizer_groups(CaseRun& run);
void run_lavis_schedules(CaseRun& run);
void run_lavis_rand_augment(CaseRun& run);
void run_lavis_image_transforms(CaseRun& run);
void run_lavis_text_processors(CaseRun& run);

}  // namespace blip2
