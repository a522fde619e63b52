#include "blip2/models/bert.h"

#include <torch/torch.h>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/error.h"

namespace blip2 {
namespace {

void replace(std::string& text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
}

/** The tensors under plain BERT names: no `bert.` prefix, `weight` and `bias` for the old `gamma` and `beta`. */
NamedTensors plain_bert(const std::filesystem::path& folder) {
  NamedTensors result;
  for (auto& [name, tensor] : load_model_tensors(folder)) {
    std::string plain = name.rfind("bert.", 0) == 0 ? name.substr(5) : name;
    replace(plain, "LayerNorm.gamma", "LayerNorm.weight");
    replace(plain, "LayerNorm.beta", "LayerNorm.bias");
    result.emplace(plain, tensor.to(torch::kFloat));
  }
  return result;
}

/** Where a parameter of our stage-1 model comes from in BERT; "" where BERT has nothing like it. */
std::string bert_name(std::string name) {
  if (name == "qformer.layernorm.weight" || name == "qformer.layernorm.bias") {
    return "embeddings.LayerNorm" + name.substr(17);
  }
  if (name.rfind("embeddings.", 0) == 0) return name;
  if (name.rfind("itg_head.", 0) == 0) return "cls.predictions." + name.substr(9);
  const bool from_bert = name.rfind("qformer.encoder.", 0) == 0 && name.find("crossattention") == std::string::npos &&
                         name.find("_query.") == std::string::npos;
  if (!from_bert) return "";
  name = name.substr(8);
  replace(name, "attention.attention.", "attention.self.");
  return name;
}

/** Rows of a table that BERT has overwrite the first rows of ours; added tokens keep theirs. */
at::Tensor with_added_rows(const at::Tensor& bert, const at::Tensor& ours) {
  at::Tensor result = ours.detach().clone();
  result.narrow(0, 0, bert.size(0)).copy_(bert);
  return result;
}

}  // namespace

void load_bert(Blip2QFormerImpl& model, const std::filesystem::path& folder, TokenTypeRow token_type) {
  NamedTensors bert = plain_bert(folder);
  if (token_type == TokenTypeRow::kAddToPositions) {
    const auto row = bert.find("embeddings.token_type_embeddings.weight");
    const auto positions = bert.find("embeddings.position_embeddings.weight");
    if (row != bert.end() && positions != bert.end()) positions->second = positions->second + row->second[0];
  }
  const bool has_head = bert.count("cls.predictions.transform.dense.weight") != 0;
  NamedTensors renamed;
  std::vector<std::string> ignored = {"position_ids"};
  for (const auto& item : model.named_parameters()) {
    const std::string source = bert_name(item.key());
    const bool wanted = !source.empty() && (has_head || source.rfind("cls.", 0) != 0);
    const auto found = bert.find(source);
    if (!wanted) {
      ignored.push_back(item.key());
    } else if (found != bert.end()) {
      const at::Tensor& ours = item.value();
      const bool grows = found->second.dim() == ours.dim() && found->second.size(0) < ours.size(0) &&
                         (source == "embeddings.word_embeddings.weight" || source == "cls.predictions.bias");
      renamed[item.key()] = grows ? with_added_rows(found->second, ours) : found->second;
    }
  }
  LoadOptions options;
  options.source = folder.string();
  options.ignore = ignored;
  load_parameters(model, renamed, options);
  model.qformer->copy_text_feed_forward_to_queries();
}

}  // namespace blip2
