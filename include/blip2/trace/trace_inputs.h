// Every activation, loss and gradient of a user's own model for a user's own tensors, under the names of the reference
// cases: what one compares with another implementation, or with an earlier version of this one.
#pragma once

#include <filesystem>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/models/lora_adapter.h"

namespace blip2 {

struct TraceOptions {
  bool gradients = false;         // `grad.NAME` of every parameter; needs labels
  bool double_precision = false;  // compute in float64
  bool interpolate = false;       // pictures of another size than the model's; generative models
  LoraFolders lora{};             // adapters to merge into the model first
};

/**
 * Runs the model in `folder` (published, or a run of our trainers) on `pixel_values` [B, 3, S, S] and, where given,
 * `input_ids` and `attention_mask` int64 [B, T] and `labels` int64.
 *
 * A generative model gives `vision.*`, `qformer.*`, `projected_tokens`, with ids `logits` and hidden states, with
 * labels `loss`; the ids hold placeholders where its config has image_token_index. A retrieval model needs ids and
 * gives what trace_retrieval() says; its labels [B] are those of matching. Throws UserError that names the tensor that
 * is missing or has the wrong form.
 */
NamedTensors trace_inputs(const std::filesystem::path& folder, const NamedTensors& inputs, const TraceOptions& options);

}  // namespace blip2
