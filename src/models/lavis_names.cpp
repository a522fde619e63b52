// One table for both directions; what is not one to one stands behind it.
#include "blip2/models/lavis_names.h"

#include <torch/torch.h>

#include <array>
#include <set>

#include "blip2/core/error.h"
#include "core/in_quotes.h"
#include "models/name_table.h"

namespace blip2 {
namespace {

/** Where a row counts: in every model, or only with that encoder or language model. */
enum class Part { kAny, kEva, kClip, kOpt, kT5 };

struct Row {
  Part part;
  const char* lavis;
  const char* hugging_face;
};

constexpr Row kRows[] = {
    {Part::kAny, "query_tokens", "query_tokens"},
    {Part::kAny, "ln_vision.*", "vision_model.post_layernorm.*"},
    // EVA ViT
    {Part::kEva, "visual_encoder.cls_token", "vision_model.embeddings.class_embedding"},
    {Part::kEva, "visual_encoder.pos_embed", "vision_model.embeddings.position_embedding"},
    {Part::kEva, "visual_encoder.patch_embed.proj.*", "vision_model.embeddings.patch_embedding.*"},
    {Part::kEva, "visual_encoder.blocks.#.norm1.*", "vision_model.encoder.layers.#.layer_norm1.*"},
    {Part::kEva, "visual_encoder.blocks.#.attn.qkv.weight", "vision_model.encoder.layers.#.self_attn.qkv.weight"},
    {Part::kEva, "visual_encoder.blocks.#.attn.proj.*", "vision_model.encoder.layers.#.self_attn.projection.*"},
    {Part::kEva, "visual_encoder.blocks.#.norm2.*", "vision_model.encoder.layers.#.layer_norm2.*"},
    {Part::kEva, "visual_encoder.blocks.#.mlp.*", "vision_model.encoder.layers.#.mlp.*"},
    // CLIP ViT
    {Part::kClip, "visual_encoder.class_embedding", "vision_model.embeddings.class_embedding"},
    {Part::kClip, "visual_encoder.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
    {Part::kClip, "visual_encoder.conv1.weight", "vision_model.embeddings.patch_embedding.weight"},
    {Part::kClip, "visual_encoder.ln_pre.*", "vision_model.pre_layrnorm.*"},
    {Part::kClip, "visual_encoder.transformer.resblocks.#.ln_1.*", "vision_model.encoder.layers.#.layer_norm1.*"},
    {Part::kClip, "visual_encoder.transformer.resblocks.#.attn.out_proj.*",
     "vision_model.encoder.layers.#.self_attn.out_proj.*"},
    {Part::kClip, "visual_encoder.transformer.resblocks.#.ln_2.*", "vision_model.encoder.layers.#.layer_norm2.*"},
    {Part::kClip, "visual_encoder.transformer.resblocks.#.mlp.c_fc.*", "vision_model.encoder.layers.#.mlp.fc1.*"},
    {Part::kClip, "visual_encoder.transformer.resblocks.#.mlp.c_proj.*", "vision_model.encoder.layers.#.mlp.fc2.*"},
    // Q-Former
    {Part::kAny, "Qformer.bert.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"},
    {Part::kAny, "Qformer.bert.embeddings.position_embeddings.weight", "embeddings.position_embeddings.weight"},
    {Part::kAny, "Qformer.bert.embeddings.LayerNorm.*", "qformer.layernorm.*"},
    {Part::kAny, "Qformer.bert.encoder.layer.#.attention.self.*", "qformer.encoder.layer.#.attention.attention.*"},
    {Part::kAny, "Qformer.bert.encoder.layer.#.attention.output.*", "qformer.encoder.layer.#.attention.output.*"},
    {Part::kAny, "Qformer.bert.encoder.layer.#.crossattention.self.*",
     "qformer.encoder.layer.#.crossattention.attention.*"},
    {Part::kAny, "Qformer.bert.encoder.layer.#.crossattention.output.*",
     "qformer.encoder.layer.#.crossattention.output.*"},
    {Part::kAny, "Qformer.bert.encoder.layer.#.intermediate.*", "qformer.encoder.layer.#.intermediate.*"},
    {Part::kAny, "Qformer.bert.encoder.layer.#.output.*", "qformer.encoder.layer.#.output.*"},
    {Part::kAny, "Qformer.bert.encoder.layer.#.intermediate_query.*", "qformer.encoder.layer.#.intermediate_query.*"},
    {Part::kAny, "Qformer.bert.encoder.layer.#.output_query.*", "qformer.encoder.layer.#.output_query.*"},
    // Stage 1
    {Part::kAny, "Qformer.cls.predictions.bias", "itg_head.bias"},
    {Part::kAny, "Qformer.cls.predictions.transform.*", "itg_head.transform.*"},
    {Part::kAny, "vision_proj.*", "vision_projection.*"},
    {Part::kAny, "text_proj.*", "text_projection.*"},
    {Part::kAny, "itm_head.*", "itm_head.*"},
    {Part::kAny, "temp", "temperature"},
    // Stage 2
    {Part::kOpt, "opt_proj.*", "language_projection.*"},
    {Part::kOpt, "opt_model.*", "language_model.*"},
    {Part::kT5, "t5_proj.*", "language_projection.*"},
    {Part::kT5, "t5_model.*", "language_model.*"},
};

constexpr const char *kQueryBias = "visual_encoder.blocks.#.attn.q_bias",
                     *kValueBias = "visual_encoder.blocks.#.attn.v_bias",
                     *kJointBias = "vision_model.encoder.layers.#.self_attn.qkv.bias";
constexpr const char* kJointLayer = "visual_encoder.transformer.resblocks.#.attn.in_proj_*";
constexpr std::array kSingleLayers{"vision_model.encoder.layers.#.self_attn.q_proj.*",
                                   "vision_model.encoder.layers.#.self_attn.k_proj.*",
                                   "vision_model.encoder.layers.#.self_attn.v_proj.*"};
constexpr const char *kPositionIds = "Qformer.bert.embeddings.position_ids",
                     *kWords = "Qformer.bert.embeddings.word_embeddings.weight",
                     *kHeadBias = "Qformer.cls.predictions.bias", *kDecoder = "Qformer.cls.predictions.decoder.weight",
                     *kDecoderBias = "Qformer.cls.predictions.decoder.bias";
// What published encoders have behind the blocks that BLIP-2 runs.
constexpr std::array kBehindTheBlocks{
    "visual_encoder.norm.*", "visual_encoder.fc_norm.*", "visual_encoder.head.*",    "visual_encoder.ln_post.*",
    "visual_encoder.proj",   "visual_encoder.lm_head.*", "visual_encoder.mask_token"};
constexpr const char* kEncoder = "visual_encoder.";

bool any_begins_with(const NamedTensors& tensors, const std::string& start) {
  const auto at = tensors.lower_bound(start);
  return at != tensors.end() && at->first.starts_with(start);
}

/** One direction: tensors are taken from `given` until all have found a place. */
class Renaming {
 public:
  explicit Renaming(const NamedTensors& given) : given_(given) {
    for (const auto& entry : given) left_.insert(entry.first);
  }

  const std::set<std::string>& left() const { return left_; }
  const at::Tensor* find(const std::string& name) const {
    const auto found = given_.find(name);
    return found == given_.end() ? nullptr : &found->second;
  }
  bool has_put(const std::string& name) const { return result_.tensors.count(name) != 0; }
  void put(const std::string& name, at::Tensor tensor) { result_.tensors[name] = std::move(tensor); }
  void taken(const std::string& name) { left_.erase(name); }
  void pass_over(const std::string& name) {
    taken(name);
    result_.passed_over.push_back(name);
  }

  /** `work(name)` for every tensor that has no place yet; it may take any. */
  template <typename Work>
  void for_each_left(Work work) {
    for (const std::string& name : std::set<std::string>(left_)) {
      if (left_.count(name) != 0) work(name);
    }
  }

  RenamedTensors finish(const std::string& source, const std::string& others) && {
    if (left_.empty()) return std::move(result_);
    std::string names;
    bool has_key_bias = false;
    for (const auto& name : left_) {
      names += (names.empty() ? "" : ", ") + in_quotes(name);
      has_key_bias = has_key_bias || renamed(kJointBias, "", name);
    }
    if (has_key_bias) {
      names +=
          "; LAVIS's image encoder has no bias for the keys, and here it is not zero: --without-frozen leaves the "
          "image encoder out";
    }
    throw UserError("'" + source + "': " + std::to_string(left_.size()) +
                    (left_.size() == 1 ? " tensor has" : " tensors have") + " no counterpart in " + others + ": " +
                    names);
  }

 private:
  const NamedTensors& given_;
  std::set<std::string> left_;
  RenamedTensors result_;
};

/** An encoder alone under the names that it has in a model. */
NamedTensors with_encoder_prefix(const NamedTensors& tensors, LavisModel model) {
  if (model != LavisModel::kImageEncoder || any_begins_with(tensors, kEncoder)) return tensors;
  NamedTensors result;
  for (const auto& [name, tensor] : tensors) result.emplace(kEncoder + name, tensor);
  return result;
}

bool equal(const at::Tensor* a, const at::Tensor* b) {
  return a != nullptr && b != nullptr && a->scalar_type() == b->scalar_type() && a->sizes() == b->sizes() &&
         torch::equal(*a, *b);
}

void pass_over_unneeded(Renaming& renaming) {
  renaming.for_each_left([&](const std::string& name) {
    bool unneeded = name == kPositionIds ||
                    (name == kDecoder && equal(renaming.find(kDecoder), renaming.find(kWords))) ||
                    (name == kDecoderBias && equal(renaming.find(kDecoderBias), renaming.find(kHeadBias)));
    for (const char* pattern : kBehindTheBlocks) unneeded = unneeded || renamed(pattern, "", name);
    if (unneeded) renaming.pass_over(name);
  });
}

void join_eva_biases(Renaming& renaming) {
  renaming.for_each_left([&](const std::string& query_name) {
    const auto value_name = renamed(kQueryBias, kValueBias, query_name);
    const at::Tensor* value = value_name ? renaming.find(*value_name) : nullptr;
    if (value == nullptr) return;
    const at::Tensor& query = *renaming.find(query_name);
    if (query.dim() != 1 || query.sizes() != value->sizes() || query.scalar_type() != value->scalar_type()) return;
    renaming.put(*renamed(kQueryBias, kJointBias, query_name), torch::cat({query, torch::zeros_like(query), *value}));
    renaming.taken(query_name);
    renaming.taken(*value_name);
  });
}

void cut_eva_biases(Renaming& renaming) {
  renaming.for_each_left([&](const std::string& name) {
    const auto query = renamed(kJointBias, kQueryBias, name);
    const at::Tensor& bias = *renaming.find(name);
    if (!query || bias.dim() != 1 || bias.size(0) % 3 != 0) return;
    const auto parts = bias.chunk(3);
    if (parts[1].count_nonzero().item<std::int64_t>() != 0) return;
    renaming.put(*query, parts[0]);
    renaming.put(*renamed(kJointBias, kValueBias, name), parts[2]);
    renaming.taken(name);
  });
}

void cut_clip_layers(Renaming& renaming) {
  renaming.for_each_left([&](const std::string& name) {
    const at::Tensor& joint = *renaming.find(name);
    if (!renamed(kJointLayer, "", name) || joint.dim() == 0 || joint.size(0) % 3 != 0) return;
    const auto parts = joint.chunk(3);
    for (std::size_t i = 0; i < 3; ++i) renaming.put(*renamed(kJointLayer, kSingleLayers[i], name), parts[i]);
    renaming.taken(name);
  });
}

void join_clip_layers(Renaming& renaming) {
  renaming.for_each_left([&](const std::string& name) {
    if (!renamed(kSingleLayers[0], "", name)) return;
    std::vector<std::string> names;
    std::vector<at::Tensor> parts;
    for (const char* layer : kSingleLayers) {
      names.push_back(*renamed(kSingleLayers[0], layer, name));
      const at::Tensor* part = renaming.find(names.back());
      if (part == nullptr) return;
      parts.push_back(*part);
      const at::Tensor& first = parts.front();
      if (part->sizes() != first.sizes() || part->scalar_type() != first.scalar_type() || part->dim() == 0) return;
    }
    renaming.put(*renamed(kSingleLayers[0], kJointLayer, name), torch::cat(parts));
    for (const auto& part : names) renaming.taken(part);
  });
}

void rename_rows(Renaming& renaming, bool to_lavis, const std::set<Part>& parts) {
  renaming.for_each_left([&](const std::string& name) {
    for (const Row& row : kRows) {
      if (parts.count(row.part) == 0) continue;
      const auto other =
          to_lavis ? renamed(row.hugging_face, row.lavis, name) : renamed(row.lavis, row.hugging_face, name);
      if (!other || renaming.has_put(*other)) continue;
      renaming.put(*other, *renaming.find(name));
      renaming.taken(name);
      return;
    }
  });
}

/** LAVIS's buffers and tied copies. */
void add_lavis_copies(RenamedTensors& renamed, std::int64_t positions) {
  NamedTensors& tensors = renamed.tensors;
  if (any_begins_with(tensors, "Qformer.bert.")) {
    tensors[kPositionIds] = torch::arange(positions, torch::kLong).unsqueeze(0);
  }
  const auto words = tensors.find(kWords), bias = tensors.find(kHeadBias);
  if (words == tensors.end() || bias == tensors.end()) return;
  tensors[kDecoder] = words->second;
  tensors[kDecoderBias] = bias->second;
}

}  // namespace

LavisModel lavis_model(const NamedTensors& lavis) {
  if (any_begins_with(lavis, "opt_")) return LavisModel::kOpt;
  if (any_begins_with(lavis, "t5_")) return LavisModel::kT5;
  const bool has_more = any_begins_with(lavis, "Qformer.") || lavis.count("query_tokens") != 0;
  return has_more ? LavisModel::kQFormer : LavisModel::kImageEncoder;
}

LavisModel lavis_model_of_hugging_face(const NamedTensors& tensors) {
  if (any_begins_with(tensors, "language_model.model.decoder.")) return LavisModel::kOpt;
  if (any_begins_with(tensors, "language_")) return LavisModel::kT5;
  const bool has_more = any_begins_with(tensors, "qformer.") || tensors.count("query_tokens") != 0;
  return has_more ? LavisModel::kQFormer : LavisModel::kImageEncoder;
}

RenamedTensors from_lavis(const NamedTensors& lavis, const std::string& source) {
  const NamedTensors given = with_encoder_prefix(lavis, lavis_model(lavis));
  Renaming renaming(given);
  pass_over_unneeded(renaming);
  join_eva_biases(renaming);
  cut_clip_layers(renaming);
  rename_rows(renaming, /*to_lavis=*/false, {Part::kAny, Part::kEva, Part::kClip, Part::kOpt, Part::kT5});
  return std::move(renaming).finish(source, "Hugging Face's BLIP-2");
}

RenamedTensors to_lavis(const NamedTensors& tensors, LavisModel model, std::int64_t positions,
                        const std::string& source) {
  const bool is_clip = any_begins_with(tensors, "vision_model.pre_layrnorm.");
  const bool is_encoder = model == LavisModel::kImageEncoder;
  std::set<Part> parts{is_clip ? Part::kClip : Part::kEva};
  if (!is_encoder) parts.insert(Part::kAny);  // no row of an encoder
  if (model == LavisModel::kOpt) parts.insert(Part::kOpt);
  if (model == LavisModel::kT5) parts.insert(Part::kT5);
  Renaming renaming(tensors);
  renaming.for_each_left([&](const std::string& name) {
    const bool unneeded =
        name.ends_with("position_ids") || (is_encoder && name.starts_with("vision_model.post_layernorm."));
    if (unneeded) renaming.pass_over(name);
  });
  cut_eva_biases(renaming);
  join_clip_layers(renaming);
  rename_rows(renaming, /*to_lavis=*/true, parts);
  RenamedTensors result = std::move(renaming).finish(source, is_encoder ? "an image encoder of LAVIS" : "LAVIS");
  if (!is_encoder) {
    add_lavis_copies(result, positions);
    return result;
  }
  NamedTensors bare;
  for (const auto& [name, tensor] : result.tensors) bare.emplace(name.substr(std::string(kEncoder).size()), tensor);
  result.tensors = std::move(bare);
  return result;
}

}  // namespace blip2
