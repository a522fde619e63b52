// LAVIS's names for the tensors of BLIP-2 and Hugging Face's, which are ours too, both ways (LAVIS specification 8.3):
// renamed, and where the one keeps in one tensor what the other keeps in several, cut or joined without changing a bit.
#pragma once

#include <string>
#include <vector>

#include "blip2/checkpoint/safetensors.h"

namespace blip2 {

/** What a LAVIS state dict is of: `blip2_qformer`, `blip2_opt`, `blip2_t5`, or an image encoder alone. */
enum class LavisModel { kQFormer, kOpt, kT5, kImageEncoder };

/** The kind of a state dict under LAVIS's names, by the names in it; stage 1 where nothing says otherwise. */
LavisModel lavis_model(const NamedTensors& lavis);

/** The same under Hugging Face's names. */
LavisModel lavis_model_of_hugging_face(const NamedTensors& tensors);

/** Tensors under the other names. They share their memory with the given ones where nothing was cut or joined. */
struct RenamedTensors {
  NamedTensors tensors;
  /** What has no counterpart and is not needed: position ids, tied copies, the head behind a published encoder. */
  std::vector<std::string> passed_over;
};

/**
 * From LAVIS: `visual_encoder.*` (EVA or CLIP), `ln_vision`, `query_tokens`, `Qformer.*`, heads, `opt_proj` /
 * `t5_proj`, `opt_model.*` / `t5_model.*`; or an image encoder alone, whose names have no prefix. EVA's `q_bias` and
 * `v_bias` become one bias with zeros for the keys, CLIP's `in_proj` becomes three layers. Throws one UserError that
 * lists every tensor that has no place; `source` names the file in it.
 */
RenamedTensors from_lavis(const NamedTensors& lavis, const std::string& source);

/**
 * To LAVIS, for a model of that kind. What LAVIS stores besides is made: `position_ids` for `positions` places, and
 * with a language-modelling head its decoder, tied to the word embeddings. An image encoder alone is `vision_model.*`
 * here and has no prefix there. Throws as above; an EVA key bias that is not zero has no place either.
 */
RenamedTensors to_lavis(const NamedTensors& tensors, LavisModel model, std::int64_t positions,
                        const std::string& source);

}  // namespace blip2
