#include "blip2/trace/reference_case.h"

#include <torch/torch.h>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/core/atomic_file.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/models/published_folder.h"
#include "blip2/trace/model_trace.h"
#include "blip2/vision/eva_vit.h"
#include "trace/case_run.h"
#include "trace/generation_case.h"
#include "trace/image_case.h"
#include "trace/lavis_case.h"
#include "trace/logits_processor_case.h"
#include "trace/tokenizer_case.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kBatch = 3;  // pictures of the forward passes

at::Tensor trace_forward(CaseRun& run, Blip2GeneratorImpl& model, const at::Tensor& projected,
                         const std::string& side) {
  const std::string prefix = "forward." + side + ".";
  LanguageInput input;
  input.text = {run.input(prefix + "input_ids"), run.input(prefix + "attention_mask")};
  input.labels = run.input(prefix + "labels");
  input.hidden_states = side == "right";
  return trace_language(model, projected, input, prefix, run.trace);
}

void run_generative(CaseRun& run, const fs::path& folder) {
  GeneratorModel generator = load_published_generator(folder);
  auto& model = *generator.model;
  if (run.double_precision) model.to(at::kDouble);
  const at::Tensor pixels = run.input("pixel_values");
  const at::Tensor projected = trace_image(model, pixels.narrow(0, 0, kBatch), /*interpolate=*/false, run.trace);
  const at::Tensor right = trace_forward(run, model, projected, "right");
  const at::Tensor left = trace_forward(run, model, projected, "left");
  if (const at::Tensor labels = run.optional_input("forward.suffix.labels"); labels.defined()) {
    NamedTensors suffix;
    LanguageInput input;
    input.text = {run.input("forward.right.input_ids"), run.input("forward.right.attention_mask")};
    input.labels = labels;
    run.trace["forward.suffix.loss"] = trace_language(model, projected, input, "", suffix);
  }
  trace_gradients(model, model.language_model->is_encoder_decoder() ? right : left, run.trace);
  const torch::NoGradGuard no_grad;
  const at::Tensor all = model.project_image(pixels);
  run.answers["image_token_index"] = nullptr;
  if (model.options().image_token_index) run.answers["image_token_index"] = *model.options().image_token_index;
  run.answers["eos_token_id"] = model.language_model->special_ids().end;
  run.answers["generate"] = run_searches(generator, all, run.asked.value("generate", json::object()), run.trace);
  run.answers["rank_answers"] = rank_case_answers(generator, all, run.asked.value("rank_answers", json::array()));
}

void run_sizes(CaseRun& run, const fs::path& folder) {
  const torch::NoGradGuard no_grad;
  GeneratorModel generator = load_published_generator(folder);
  auto& model = *generator.model;
  if (run.double_precision) model.to(at::kDouble);
  for (const auto& [size, asked] : run.asked.at("sizes").items()) {
    const at::Tensor pixels = run.input(size + ".pixel_values");
    NamedTensors trace;
    const at::Tensor projected = trace_image(model, pixels, /*interpolate=*/true, trace);
    LanguageInput input;
    input.text = case_text(generator, asked.at("prompts").get<std::vector<std::string>>());
    trace_language(model, projected, input, "", trace);
    if (const auto* eva = dynamic_cast<const EvaVitImpl*>(model.vision_model.get())) {
      trace["position_embedding"] = eva->position_embedding(pixels.size(2), pixels.size(3));
    }
    for (const auto& [name, tensor] : trace) run.trace[size + "." + name] = tensor;
    json ids = json::array();
    for (std::int64_t row = 0; row < input.text.ids.size(0); ++row) {
      const at::Tensor own = input.text.ids[row].contiguous();
      const auto* begin = own.const_data_ptr<std::int64_t>();
      ids.push_back(std::vector<std::int64_t>(begin, begin + own.size(0)));
    }
    run.answers["sizes"][size] = {
        {"input_ids", ids}, {"sequences", search_sequences(generator, projected, input.text, asked.at("options"))}};
  }
}

void run_retrieval(CaseRun& run, const fs::path& folder) {
  RepresentationModel loaded = load_published_retrieval(folder);
  auto& model = *loaded.model;
  if (run.double_precision) model.to(at::kDouble);
  RetrievalInput input;
  input.pixels = run.input("pixel_values");
  input.text = {run.input("text.input_ids"), run.input("text.attention_mask")};
  input.temperature = run.asked.value("itc_temperature", input.temperature);
  if (run.asked.contains("itm_labels")) {
    input.labels = torch::tensor(run.asked["itm_labels"].get<std::vector<std::int64_t>>(), torch::kLong);
  }
  const at::Tensor loss = trace_retrieval(model, input, run.trace);
  if (loss.defined()) trace_gradients(model, loss, run.trace);
}

void run_model(CaseRun& run, const fs::path& model) {
  if (!is_published(load_model_config(model))) {
    throw UserError("'" + model.string() + "' is no BLIP-2 model: expected model_type blip-2");
  }
  if (is_retrieval_model(model)) {
    run_retrieval(run, model);
  } else if (run.asked.contains("sizes")) {
    run_sizes(run, model);
  } else {
    run_generative(run, model);
  }
}

void run_case(CaseRun& run) {
  if (fs::exists(run.folder / "model")) {
    run_model(run, run.folder / "model");
  } else if (run_lavis_case(run)) {
    return;
  } else if (run.asked.contains("cases")) {
    run.answers = run_logits_processors(run.asked, run.inputs, run.trace);
  } else if (run.asked.contains("crops")) {
    run.answers = run_images(run.folder, run.asked, run.trace);
  } else {
    throw UserError("'" + run.folder.string() +
                    "' is no reference case: expected model/, or an expected.json and inputs.safetensors of one that "
                    "this program knows");
  }
}

}  // namespace

std::vector<std::filesystem::path> run_reference_case(const std::filesystem::path& folder,
                                                      const std::filesystem::path& output, const CaseOptions& options) {
  std::vector<fs::path> written;
  CaseRun run;
  run.folder = folder;
  run.double_precision = options.double_precision;
  if (fs::exists(folder / "models.json")) {
    run.answers = run_tokenizers(folder, output, written);
  } else {
    const fs::path inputs = folder / "inputs.safetensors", asked = folder / "expected.json";
    if (fs::exists(inputs)) run.inputs = load_safetensors(inputs);
    if (fs::exists(asked) || run.inputs.empty()) run.asked = load_json(asked);
    run_case(run);
  }
  fs::create_directories(output);
  if (!run.trace.empty()) {
    for (auto& [name, tensor] : run.trace) tensor = tensor.detach().contiguous();
    save_safetensors(run.trace, output / "actual.safetensors");
    written.push_back(output / "actual.safetensors");
  }
  write_file_atomically(output / "actual.json", run.answers.dump(1) + "\n");
  written.push_back(output / "actual.json");
  return written;
}

}  // namespace blip2
