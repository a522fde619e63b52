#include "models/stored_sizes.h"

#include "blip2/core/error.h"
#include "core/in_quotes.h"
#include "core/shape_text.h"

namespace blip2 {
namespace {

/** One size of the config and the dimension of a tensor that shows it. */
struct Witness {
  std::string size_name;
  std::int64_t size;
  std::string tensor;
  std::size_t dimension;
};

StoredSizes stored_in(const ModelTensors& tensors) {
  return {tensors.folder().string(), "config.json", [&tensors](const std::string& name) {
            return tensors.contains(name) ? std::optional(tensors.info(name).shape) : std::nullopt;
          }};
}

void check(const std::vector<Witness>& witnesses, const StoredSizes& stored, const std::string& prefix) {
  for (const Witness& witness : witnesses) {
    const std::string name = prefix + witness.tensor;
    const auto shape = stored.shape_of(name);
    if (!shape || (witness.dimension < shape->size() && witness.size <= (*shape)[witness.dimension])) continue;
    throw UserError("'" + stored.source + "': " + stored.described + " says " + witness.size_name + " " +
                    std::to_string(witness.size) + ", but the weights do not hold as much: " + in_quotes(name) +
                    " has shape " + shape_text(*shape));
  }
}

std::int64_t positions(const VisionOptions& options) {
  const std::int64_t side = options.image_size / options.patch_size;
  return side * side + 1;
}

}  // namespace

void check_stored_sizes(const LanguageModelOptions& options, const ModelTensors& tensors, const std::string& prefix) {
  validate(options);
  if (options.model_type == "t5") {
    const T5Options& t5 = options.t5;
    const std::string layer = "encoder.block.0.layer.";
    const std::string expand = t5.is_gated_act ? "wi_0" : "wi";
    check({{"text_config.vocab_size", t5.vocab_size, "shared.weight", 0},
           {"text_config.d_model", t5.d_model, layer + "0.SelfAttention.q.weight", 1},
           {"text_config.num_heads * d_kv", t5.num_heads * t5.d_kv, layer + "0.SelfAttention.q.weight", 0},
           {"text_config.relative_attention_num_buckets", t5.relative_attention_num_buckets,
            layer + "0.SelfAttention.relative_attention_bias.weight", 0},
           {"text_config.d_ff", t5.d_ff, layer + "1.DenseReluDense." + expand + ".weight", 0}},
          stored_in(tensors), prefix);
    return;
  }
  const OptOptions& opt = options.opt;
  const std::string decoder = "model.decoder.";
  check({{"text_config.vocab_size", opt.vocab_size, decoder + "embed_tokens.weight", 0},
         {"text_config.word_embed_proj_dim", opt.embedding_width(), decoder + "embed_tokens.weight", 1},
         {"text_config.max_position_embeddings", opt.max_position_embeddings, decoder + "embed_positions.weight", 0},
         {"text_config.hidden_size", opt.hidden_size, decoder + "layers.0.fc1.weight", 1},
         {"text_config.ffn_dim", opt.ffn_dim, decoder + "layers.0.fc1.weight", 0}},
        stored_in(tensors), prefix);
}

void check_stored_sizes(const Blip2Options& options, const StoredSizes& stored) {
  Blip2Options checked = options;
  resolve(checked);
  const VisionOptions& vision = options.vision_config;
  const QFormerOptions& qformer = options.qformer_config;
  const bool is_clip = vision.model_type == "clip_vision_model";
  const std::string embeddings = "vision_model.embeddings.", fc1 = "vision_model.encoder.layers.0.mlp.fc1.weight";
  check({{"vision_config.hidden_size", vision.hidden_size, fc1, 1},
         {"vision_config.intermediate_size", vision.intermediate_size, fc1, 0},
         {"vision_config.patch_size", vision.patch_size, embeddings + "patch_embedding.weight", 2},
         {"vision_config.image_size with its number of positions", positions(vision),
          embeddings + (is_clip ? "position_embedding.weight" : "position_embedding"), is_clip ? 0U : 1U},
         {"qformer_config.hidden_size", qformer.hidden_size, "query_tokens", 2},
         {"num_query_tokens", options.num_query_tokens, "query_tokens", 1},
         {"qformer_config.intermediate_size", qformer.intermediate_size,
          "qformer.encoder.layer.0.intermediate_query.dense.weight", 0},
         {"qformer_config.vocab_size", qformer.vocab_size, "embeddings.word_embeddings.weight", 0},
         {"qformer_config.max_position_embeddings", qformer.max_position_embeddings,
          "embeddings.position_embeddings.weight", 0},
         {"image_text_hidden_size", options.image_text_hidden_size, "vision_projection.weight", 0}},
        stored, "");
}

void check_stored_sizes(const Blip2Options& options, const ModelTensors& tensors) {
  check_stored_sizes(options, stored_in(tensors));
}

}  // namespace blip2
