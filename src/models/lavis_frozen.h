// The frozen parts of a model, which a LAVIS checkpoint leaves out, from where they lie.
#pragma once

#include <optional>
#include <string>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/lm/language_model_options.h"
#include "blip2/models/lavis_checkpoint.h"
#include "blip2/models/lavis_names.h"
#include "models/language_tensors.h"

namespace blip2 {

/** What never learns, so that a checkpoint may lack it: language model and image encoder, but for the norm behind it.
 */
bool is_frozen_part(const std::string& name);

/** Throws UserError where an adapter lies in the folder or beside its weights: LAVIS has none, it would be lost. */
void refuse_adapter(const std::filesystem::path& folder);

/**
 * Throws UserError where `name` is of an encoder block that neither runs, among `blocks`, nor is the one behind them
 * that published encoders have. Gives whether it is of this one.
 */
bool is_unused_block(const std::string& name, std::int64_t blocks, const std::string& file);

/** Places to find frozen tensors in, the first that has one counts: their own, then the folder like the result. */
class FrozenParts {
 public:
  /** Opens what `model` needs. Throws UserError for what cannot be read and for adapters. */
  FrozenParts(const LavisSources& sources, LavisModel model);

  /** How the tables of the language model are spelt; sets what its weights say about tying. */
  void adapt(LanguageModelOptions& options);

  /** Under its name in Hugging Face's model. */
  std::optional<at::Tensor> find(const std::string& name) const;

  bool is_clip() const;

  /** Throws UserError where the image encoder that was named is of another model than one of `blocks`. */
  void check_blocks(std::int64_t blocks) const;

 private:
  std::string stored_name(const std::string& name) const;

  std::filesystem::path vision_;
  NamedTensors vision_file_;
  std::optional<ModelTensors> vision_folder_, language_, like_;
  LanguageTensors stored_;
};

}  // namespace blip2
