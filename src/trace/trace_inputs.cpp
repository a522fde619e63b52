#include "blip2/trace/trace_inputs.h"

#include <torch/torch.h>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/core/error.h"
#include "blip2/models/published_folder.h"
#include "blip2/trace/model_trace.h"
#include "core/in_quotes.h"
#include "lm/prompt.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

struct ModelInputs {
  at::Tensor pixels;
  TextTokens text;
  at::Tensor labels;
};

std::string form(const at::Tensor& tensor) {
  std::string text = std::string(c10::toString(tensor.scalar_type())) + " [";
  for (std::int64_t i = 0; i < tensor.dim(); ++i) text += (i > 0 ? ", " : "") + std::to_string(tensor.size(i));
  return text + "]";
}

/** Throws unless `tensor` is what `accepts` says. */
void require(bool accepts, const std::string& name, const at::Tensor& tensor, const std::string& expected) {
  if (!accepts) throw UserError("inputs: " + in_quotes(name) + " is " + form(tensor) + ", expected " + expected);
}

ModelInputs read_inputs(const NamedTensors& inputs, const TraceOptions& options) {
  const auto find = [&](const std::string& name) {
    const auto found = inputs.find(name);
    return found == inputs.end() ? at::Tensor() : found->second;
  };
  ModelInputs result;
  result.pixels = find("pixel_values");
  if (!result.pixels.defined()) throw UserError("inputs: 'pixel_values' is missing, float [B, 3, S, S]");
  const at::Tensor& pixels = result.pixels;
  require(pixels.is_floating_point() && pixels.dim() == 4 && pixels.size(0) > 0 && pixels.size(1) == 3, "pixel_values",
          pixels, "float [B, 3, S, S]");
  result.pixels = pixels.to(options.double_precision ? at::kDouble : at::kFloat);
  const auto is_rows = [&](const at::Tensor& tensor) {
    return tensor.scalar_type() == at::kLong && tensor.dim() == 2 && tensor.size(0) == pixels.size(0) &&
           tensor.size(1) > 0;
  };
  const std::string rows = "Long [" + std::to_string(pixels.size(0)) + ", T]";
  result.text.ids = find("input_ids");
  if (result.text.ids.defined()) {
    require(is_rows(result.text.ids), "input_ids", result.text.ids, rows);
    result.text.mask = find("attention_mask");
    if (!result.text.mask.defined()) result.text.mask = torch::ones_like(result.text.ids);
    require(is_rows(result.text.mask) && result.text.mask.sizes() == result.text.ids.sizes(), "attention_mask",
            result.text.mask, "the form of input_ids");
  }
  result.labels = find("labels");
  if (result.labels.defined() && !result.text.ids.defined()) {
    throw UserError("inputs: 'labels' are given without 'input_ids', which they belong to");
  }
  if (options.gradients && !result.labels.defined()) {
    throw UserError("inputs: gradients need 'labels', from which the loss is computed");
  }
  return result;
}

void check_ids(const at::Tensor& ids, std::int64_t vocabulary) {
  if (ids.min().item<std::int64_t>() >= 0 && ids.max().item<std::int64_t>() < vocabulary) return;
  throw UserError("inputs: 'input_ids' holds an id outside 0.." + std::to_string(vocabulary - 1));
}

void check_pixels(const at::Tensor& pixels, const VisionOptions& vision, bool interpolate) {
  const std::int64_t height = pixels.size(2), width = pixels.size(3), size = vision.image_size;
  if (interpolate) {
    const std::string least = std::to_string(vision.patch_size);
    require(height >= vision.patch_size && width >= vision.patch_size, "pixel_values", pixels,
            "float [B, 3, H, W] with sides of at least " + least + ", one patch");
    return;
  }
  require(height == size && width == size, "pixel_values", pixels,
          "float [B, 3, " + std::to_string(size) + ", " + std::to_string(size) +
              "], the model's image_size (--interpolate: any size)");
}

/** `length`: positions that the texts take with what is set before them. */
void check_length(const at::Tensor& ids, std::int64_t length, std::int64_t positions) {
  require(positions < 0 || length <= positions, "input_ids", ids,
          "texts that with their picture fit into the model's " + std::to_string(positions) + " positions");
}

/** `longest`: rows that labels can be for, counted from the last; -1: any number. */
void check_token_labels(const at::Tensor& labels, std::int64_t rows, std::int64_t longest, std::int64_t vocabulary) {
  const bool is_rows = labels.scalar_type() == at::kLong && labels.dim() == 2 && labels.size(0) == rows;
  const std::string most = longest < 0 ? "" : " with at most " + std::to_string(longest) + " labels for the last rows";
  require(is_rows && labels.size(1) > 0 && (longest < 0 || labels.size(1) <= longest), "labels", labels,
          "Long [" + std::to_string(rows) + ", L]" + most);
  const at::Tensor wrong = labels.ne(kIgnoredLabel).logical_and(labels.lt(0).logical_or(labels.ge(vocabulary)));
  if (!wrong.any().item<bool>()) return;
  throw UserError("inputs: 'labels' holds " + std::to_string(labels.masked_select(wrong)[0].item<std::int64_t>()) +
                  ", expected -100 (not counted) or an id of 0.." + std::to_string(vocabulary - 1));
}

void check_generative(const ModelInputs& inputs, const Blip2GeneratorImpl& model) {
  const at::Tensor& ids = inputs.text.ids;
  if (!ids.defined()) return;
  const auto& language = model.options().text_config;
  const std::int64_t vocabulary = language.model_type == "t5" ? language.t5.vocab_size : language.opt.vocab_size;
  const std::int64_t queries = model.options().image_token_index ? 0 : model.options().num_query_tokens;
  check_ids(ids, vocabulary);
  check_length(ids, ids.size(1) + queries, model.language_model->max_positions());
  if (!inputs.labels.defined()) return;
  const bool reads_labels = model.language_model->is_encoder_decoder();
  check_token_labels(inputs.labels, ids.size(0), reads_labels ? -1 : ids.size(1) + queries, vocabulary);
}

NamedTensors trace_generative(const fs::path& folder, const ModelInputs& inputs, const TraceOptions& options) {
  const GeneratorModel generator = load_generator_model(folder, WeightFormat::kFloat32, options.lora);
  auto& model = *generator.model.ptr();
  for (auto& parameter : model.parameters()) parameter.requires_grad_(options.gradients);
  if (options.double_precision) model.to(at::kDouble);
  check_generative(inputs, model);
  check_pixels(inputs.pixels, model.options().vision_config, options.interpolate);
  NamedTensors trace;
  const at::Tensor projected = trace_image(model, inputs.pixels, options.interpolate, trace);
  if (!inputs.text.ids.defined()) return trace;
  const at::Tensor loss = trace_language(model, projected, {inputs.text, inputs.labels, true}, "", trace);
  if (options.gradients) trace_gradients(model, loss, trace);
  return trace;
}

NamedTensors trace_pairs(const fs::path& folder, const ModelInputs& inputs, const TraceOptions& options) {
  if (!inputs.text.ids.defined()) throw UserError("inputs: 'input_ids' is missing, which a retrieval model reads");
  const RepresentationModel loaded = load_representation_model(folder, WeightFormat::kFloat32, options.lora);
  auto& model = *loaded.model.ptr();
  for (auto& parameter : model.parameters()) parameter.requires_grad_(options.gradients);
  if (options.double_precision) model.to(at::kDouble);
  if (options.interpolate)
    throw UserError("inputs: a retrieval model reads pictures of its own size: no --interpolate");
  const QFormerOptions& qformer = model.options().qformer_config;
  check_pixels(inputs.pixels, model.options().vision_config, /*interpolate=*/false);
  check_ids(inputs.text.ids, qformer.vocab_size);
  check_length(inputs.text.ids, inputs.text.ids.size(1), qformer.max_position_embeddings);
  if (inputs.labels.defined()) {
    require(inputs.labels.scalar_type() == at::kLong && inputs.labels.dim() == 1 &&
                inputs.labels.size(0) == inputs.pixels.size(0),
            "labels", inputs.labels, "Long [B], 1 where text and picture match");
    const bool is_binary = inputs.labels.ge(0).logical_and(inputs.labels.le(1)).all().item<bool>();
    require(is_binary, "labels", inputs.labels, "1 where text and picture match and 0 elsewhere");
  }
  NamedTensors trace;
  RetrievalInput input;
  input.pixels = inputs.pixels;
  input.text = inputs.text;
  input.labels = inputs.labels;
  const at::Tensor loss = trace_retrieval(model, input, trace);
  if (options.gradients) trace_gradients(model, loss, trace);
  return trace;
}

}  // namespace

NamedTensors trace_inputs(const fs::path& folder, const NamedTensors& inputs, const TraceOptions& options) {
  const ModelInputs given = read_inputs(inputs, options);
  NamedTensors trace =
      is_retrieval_model(folder) ? trace_pairs(folder, given, options) : trace_generative(folder, given, options);
  for (auto& [name, tensor] : trace) tensor = tensor.detach().contiguous();
  return trace;
}

}  // namespace blip2
