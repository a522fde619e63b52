// Starting the Q-Former from a BERT folder in Hugging Face format (LAVIS 1.6): embeddings, self-attention and text
// feed-forward come from BERT, the query feed-forward is a copy of the text's, cross-attention and heads stay random.
#pragma once

#include <filesystem>

#include "blip2/models/blip2_qformer.h"

namespace blip2 {

/** BERT adds the same token-type row to every word; the Q-Former has no place for it. */
enum class TokenTypeRow {
  kAddToPositions,  // folded into the position table: text-only passes equal BERT exactly
  kDrop             // as LAVIS does
};

/**
 * Reads `bert.*` names (with or without the prefix, also the old LayerNorm `gamma` / `beta`) of a folder with
 * model.safetensors into the text side of `model`. The vocabulary may be larger in the model (added tokens keep their
 * random rows). A language-modelling head (`cls.predictions.*`) initialises the ITG head where the folder has one.
 * Throws UserError that lists, under the model's names, what is missing or of another shape, or that names the number
 * of heads in the folder's config.json where it is another, and then leaves the model as it was. What the Q-Former has
 * no place for (pooler, tied decoder, further layers) is passed over.
 */
void load_bert(Blip2QFormerImpl& model, const std::filesystem::path& folder, TokenTypeRow token_type);

}  // namespace blip2
