// Every activation of a model by name, as the reference cases name them: for comparing two implementations tensor by
// tensor. Works in the model's own dtype; nothing is detached, so that the caller can take gradients.
#pragma once

#include <string>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/models/blip2_generator.h"
#include "blip2/models/blip2_qformer.h"

namespace blip2 {

/**
 * `vision.hidden_states.i` [B, N, Hv] (0: embeddings), `.last_hidden_state`, `.pooler_output` (normed twice, as Hugging
 * Face does), `qformer.hidden_states.i` [B, Q, H], `.self_attention.i`, `.cross_attention.i`, `.last_hidden_state`, and
 * `projected_tokens` [B, Q, width], which is also returned. With `interpolate` pictures of any size are read.
 */
at::Tensor trace_image(Blip2GeneratorImpl& model, const at::Tensor& pixels, bool interpolate, NamedTensors& trace);

/** What the language model is asked about. */
struct LanguageInput {
  TextTokens text;    // with placeholders where the model's config has image_token_index, else without
  at::Tensor labels;  // as LanguageModel::loss takes them, or undefined
  bool hidden_states = false;
};

/**
 * `PREFIXlogits` and, with labels, `PREFIXloss`, which is also returned; on request `PREFIXlm_hidden_states.i` of OPT
 * or `PREFIXencoder_hidden_states.i` and `PREFIXdecoder_hidden_states.i` of T5. T5 computes logits only with labels.
 */
at::Tensor trace_language(Blip2GeneratorImpl& model, const at::Tensor& projected, const LanguageInput& input,
                          const std::string& prefix, NamedTensors& trace);

/** Texts and pictures of a retrieval model. */
struct RetrievalInput {
  at::Tensor pixels;  // [B, 3, S, S]
  TextTokens text;    // [B, T], without placeholders
  at::Tensor labels;  // int64 [B] of matching, or undefined
  double temperature = 0.07;
};

/**
 * `vision.*`, `itm.*`, `itc.*`, `vision_with_projection.*`, `text_with_projection.*` and, with labels, `loss.itm` and
 * `loss.itc` (the mean of both directions against the diagonal), whose sum is returned.
 */
at::Tensor trace_retrieval(Blip2QFormerImpl& model, const RetrievalInput& input, NamedTensors& trace);

/** `grad.NAME` of every parameter that `loss` depends on. */
void trace_gradients(torch::nn::Module& model, const at::Tensor& loss, NamedTensors& trace);

}  // namespace blip2
