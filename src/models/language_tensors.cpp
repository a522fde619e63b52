#include "models/language_tensors.h"

#include <torch/torch.h>

namespace blip2 {
namespace {

bool equal_tensors(const ModelTensors& tensors, const std::string& a, const std::string& b) {
  return tensors.info(a).dtype == tensors.info(b).dtype && tensors.info(a).shape == tensors.info(b).shape &&
         torch::equal(tensors.read(a), tensors.read(b));
}

}  // namespace

LanguageTensors adapt_to_tensors(LanguageModelOptions& options, const ModelTensors& tensors,
                                 const std::string& prefix) {
  const bool is_t5 = options.model_type == "t5";
  const std::string own = is_t5 ? "shared.weight" : "model.decoder.embed_tokens.weight", head = "lm_head.weight";
  LanguageTensors result;
  std::string embedding = own;
  if (is_t5) {
    result.copies = {"EncDecAttention.relative_attention_bias.weight"};
    for (const char* alias : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}) {
      result.copies.push_back(alias);
      if (!tensors.contains(prefix + embedding)) embedding = alias;
    }
    if (!tensors.contains(prefix + embedding)) embedding = own;  // the error names it
    if (embedding != own) result.stored_as[prefix + own] = prefix + embedding;
  }
  bool& tied = is_t5 ? options.t5.tie_word_embeddings : options.opt.tie_word_embeddings;
  // What is stored counts more than the flag: versions differ in what they write for a T5 with a head of its own.
  if (tensors.contains(prefix + head) && tensors.contains(prefix + embedding)) {
    tied = equal_tensors(tensors, prefix + head, prefix + embedding);
  }
  if (tied) result.copies.push_back(head);
  return result;
}

}  // namespace blip2
