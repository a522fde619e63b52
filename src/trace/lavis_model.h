// The models of LAVIS's reference cases: a folder beside the case with blip2_config.json and weights under LAVIS's
// names. Everything goes back under these names too.
#pragma once

#include <string>

#include "blip2/models/blip2_generator.h"
#include "blip2/models/blip2_qformer.h"
#include "blip2/models/lavis_names.h"
#include "trace/case_run.h"

namespace blip2 {

/** The folder NAME beside the case's. Throws UserError where there is none. */
std::filesystem::path beside(const CaseRun& run, const std::string& name);

/** The stage-1 model in the folder NAME, in evaluation mode; the image encoder frozen or not. */
Blip2QFormer load_lavis_qformer(const CaseRun& run, const std::string& name, bool frozen_vision);

/** The stage-2 model in the folder NAME, frozen as stage 2 trains it; `tokenizer` says where its answers end. */
Blip2Generator load_lavis_generator(const CaseRun& run, const std::string& name, const Tokenizer& tokenizer);

/** Tensors of parameters (values, gradients, moments) under LAVIS's names, PREFIX in front. */
NamedTensors under_lavis_names(const NamedTensors& tensors, LavisModel model, const std::string& prefix);

/** `PREFIXgrad.NAME` of every parameter that has a gradient. */
NamedTensors lavis_gradients(const torch::nn::Module& module, LavisModel model, const std::string& prefix = "");

}  // namespace blip2
