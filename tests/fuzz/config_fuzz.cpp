// libFuzzer over the config.json of a published model: whatever the bytes are, the options that come out are refused
// with a UserError, or a model may be built of them: every size and id is within bounds.
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/size_check.h"
#include "blip2/models/published_folder.h"
#include "memory_file.h"
#include "models/generator_options.h"

namespace {

void require(bool holds) {
  if (!holds) __builtin_trap();
}

bool is_size(std::int64_t size) {
  return size >= 1 && size <= blip2::kLargestSize;
}

void require_bounds(const blip2::Blip2GeneratorOptions& options) {
  const auto& vision = options.vision_config;
  require(is_size(vision.hidden_size) && is_size(vision.intermediate_size) && is_size(vision.patch_size));
  require(vision.hidden_size % vision.num_attention_heads == 0 && vision.image_size / vision.patch_size >= 1);
  const auto& qformer = options.qformer_config;
  require(is_size(qformer.hidden_size) && is_size(qformer.vocab_size) && is_size(options.num_query_tokens));
  require(qformer.hidden_size % qformer.num_attention_heads == 0);
  const bool is_t5 = options.text_config.model_type == "t5";
  const auto& opt = options.text_config.opt;
  const auto& t5 = options.text_config.t5;
  require(is_size(options.text_config.width()) && (is_t5 || opt.hidden_size % opt.num_attention_heads == 0));
  const std::int64_t vocabulary = is_t5 ? t5.vocab_size : opt.vocab_size;
  for (const std::int64_t id : {is_t5 ? t5.eos_token_id : opt.eos_token_id, is_t5 ? t5.pad_token_id : opt.pad_token_id,
                                options.image_token_index.value_or(-1)}) {
    require(id >= -1 && id < vocabulary);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto config = blip2::load_json(blip2::memory_file(data, size));
    auto options = blip2::published_options(config, "fuzzed");
    resolve(options);
    require_bounds(options);
  } catch (const blip2::UserError&) {
  }
  return 0;
}
