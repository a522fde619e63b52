#include "blip2/models/bert.h"

#include <torch/torch.h>

#include <sstream>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/module_state.h"
#include "blip2/core/config.h"
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
    std::string plain = name.starts_with("bert.") ? name.substr(5) : name;
    replace(plain, "LayerNorm.gamma", "LayerNorm.weight");
    replace(plain, "LayerNorm.beta", "LayerNorm.bias");
    result.emplace(plain, tensor.is_floating_point() ? tensor.to(torch::kFloat) : tensor);
  }
  return result;
}

/** Where a parameter of our stage-1 model comes from in BERT; "" where BERT has nothing like it. */
std::string bert_name(std::string name) {
  if (name == "qformer.layernorm.weight" || name == "qformer.layernorm.bias") {
    return "embeddings.LayerNorm" + name.substr(17);
  }
  if (name.starts_with("embeddings.")) return name;
  if (name.starts_with("itg_head.")) return "cls.predictions." + name.substr(9);
  const bool from_bert = name.starts_with("qformer.encoder.") && name.find("crossattention") == std::string::npos &&
                         name.find("_query.") == std::string::npos;
  if (!from_bert) return "";
  name = name.substr(8);
  replace(name, "attention.attention.", "attention.self.");
  return name;
}

/** Whether `bert` is `ours` without its last rows. */
bool lacks_rows(const at::Tensor& bert, const at::Tensor& ours) {
  return bert.is_floating_point() && bert.dim() == ours.dim() && bert.size(0) < ours.size(0) &&
         bert.sizes().slice(1) == ours.sizes().slice(1);
}

/** Rows of a table that BERT has overwrite the first rows of ours; added tokens keep theirs. */
at::Tensor with_added_rows(const at::Tensor& bert, const at::Tensor& ours) {
  at::Tensor result = ours.detach().clone();
  result.narrow(0, 0, bert.size(0)).copy_(bert);
  return result;
}

/** A position table that is absent or misshapen is left to load_parameters, which lists it with all else. */
void add_token_type_row(NamedTensors& bert, const std::filesystem::path& folder) {
  const auto positions = bert.find("embeddings.position_embeddings.weight");
  if (positions == bert.end() || !positions->second.is_floating_point() || positions->second.dim() != 2) return;
  const std::string name = "embeddings.token_type_embeddings.weight";
  const auto types = bert.find(name);
  const std::int64_t width = positions->second.size(1);
  const bool fits = types != bert.end() && types->second.is_floating_point() && types->second.dim() == 2 &&
                    types->second.size(0) > 0 && types->second.size(1) == width;
  if (!fits) {
    std::ostringstream found;
    if (types != bert.end()) found << types->second.scalar_type() << " " << types->second.sizes();
    throw UserError("'" + folder.string() + "': expected floating '" + name + "' [1 or more, " + std::to_string(width) +
                    "], whose first row is added to the positions, found " +
                    (types == bert.end() ? "none" : found.str()));
  }
  positions->second = positions->second + types->second[0];
}

/** The shapes of the weights do not tell into how many heads they are cut. */
void check_heads(const std::filesystem::path& folder, std::int64_t ours) {
  const std::filesystem::path file = folder / "config.json";
  if (!std::filesystem::exists(file)) return;
  const nlohmann::json config = load_json(file);
  const auto heads = config.is_object() ? config.find("num_attention_heads") : config.end();
  if (heads == config.end() || *heads == ours) return;
  throw UserError("'" + file.string() + "' has num_attention_heads " + heads->dump() + ", the Q-Former has " +
                  std::to_string(ours) + ": set model.qformer_config.num_attention_heads to BERT's");
}

}  // namespace

void load_bert(Blip2QFormerImpl& model, const std::filesystem::path& folder, TokenTypeRow token_type) {
  check_heads(folder, model.options().qformer_config.num_attention_heads);
  NamedTensors bert = plain_bert(folder);
  if (token_type == TokenTypeRow::kAddToPositions) add_token_type_row(bert, folder);
  const bool has_head = bert.count("cls.predictions.transform.dense.weight") != 0;
  NamedTensors renamed;
  std::vector<std::string> ignored = {"position_ids"};
  for (const auto& item : model.named_parameters()) {
    const std::string source = bert_name(item.key());
    const bool wanted = !source.empty() && (has_head || !source.starts_with("cls."));
    const auto found = bert.find(source);
    if (!wanted) {
      ignored.push_back(item.key());
    } else if (found != bert.end()) {
      const at::Tensor& ours = item.value();
      const bool grows = lacks_rows(found->second, ours) &&
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
