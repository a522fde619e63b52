// What rounding the weights costs: the captions of the model as stored, and how the rounded model sees the same words.
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "blip2/core/error.h"
#include "blip2/image/image.h"
#include "blip2/image/transforms.h"
#include "blip2/models/captioner.h"

namespace {

using blip2::GeneratorModel;

struct Reference {
  at::Tensor pixels;
  std::vector<std::int64_t> ids;  // greedy caption of the model as stored
};

/** The log-probabilities [T, vocabulary] that the model gives to the next token at every place of the caption. */
at::Tensor log_probabilities(GeneratorModel& loaded, const Reference& reference) {
  blip2::Blip2Generator& model = loaded.model;
  blip2::LanguageModel& language_model = *model->language_model;
  const blip2::TextTokens text = blip2::tokenize(*loaded.tokenizer, {""}, {});
  auto [state, logits] = language_model.begin(model->prompt(model->project_image(reference.pixels), text));
  std::vector<at::Tensor> rows{logits};
  for (std::size_t i = 0; i + 1 < reference.ids.size(); ++i) {
    rows.push_back(language_model.step(*state, torch::tensor({reference.ids[i]})));
  }
  return torch::cat(rows).to(at::kFloat).log_softmax(-1);
}

/** [1, 3, S, S] */
at::Tensor pixels_of(const std::string& file, const blip2::ImageTransformOptions& transform) {
  const std::vector<float> values = blip2::evaluation_transform(blip2::load_image(file), transform);
  return torch::tensor(values).view({1, 3, transform.image_size, transform.image_size});
}

std::vector<Reference> references(GeneratorModel& loaded, const std::vector<std::string>& pictures) {
  blip2::GenerationOptions greedy;
  greedy.max_new_tokens = 30;
  std::vector<Reference> result;
  for (const auto& file : pictures) {
    Reference reference;
    reference.pixels = pixels_of(file, loaded.transform);
    reference.ids = blip2::caption_pictures(loaded, reference.pixels, "", greedy)[0][0].token_ids;
    result.push_back(std::move(reference));
  }
  return result;
}

struct Tally {
  std::int64_t tokens = 0, agreeing = 0, same_captions = 0;
  double shift = 0, largest_shift = 0;
};

Tally compare(GeneratorModel& rounded, const std::vector<Reference>& references,
              const std::vector<at::Tensor>& expected) {
  Tally tally;
  for (std::size_t i = 0; i < references.size(); ++i) {
    const at::Tensor found = log_probabilities(rounded, references[i]);
    const at::Tensor ids = torch::tensor(references[i].ids).unsqueeze(1);
    const at::Tensor shift = (found.gather(1, ids) - expected[i].gather(1, ids)).abs();
    const auto agreeing = found.argmax(1, true).eq(ids).sum().item<std::int64_t>();
    tally.tokens += ids.size(0);
    tally.agreeing += agreeing;
    tally.same_captions += agreeing == ids.size(0) ? 1 : 0;
    tally.shift += shift.sum().item<double>();
    tally.largest_shift = std::max(tally.largest_shift, shift.max().item<double>());
  }
  return tally;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Reports what quantizing a model changes", "quantization_quality"};
  std::string model, quantize = "int8";
  std::vector<std::string> pictures;
  app.add_option("--model", model, "Run folder of train_stage2, or a published folder")->required();
  app.add_option("--quantize", quantize)->capture_default_str();
  app.add_option("pictures", pictures)->required();
  CLI11_PARSE(app, argc, argv);
  return blip2::run_program("quantization_quality", [&] {
    const torch::NoGradGuard no_grad;
    std::vector<Reference> captions;
    std::vector<at::Tensor> expected;
    {
      GeneratorModel stored = blip2::load_generator_model(model, blip2::WeightFormat::kAsStored);
      captions = references(stored, pictures);
      for (const auto& reference : captions) expected.push_back(log_probabilities(stored, reference));
    }
    GeneratorModel rounded = blip2::load_generator_model(model, blip2::inference_format(quantize));
    const Tally tally = compare(rounded, captions, expected);
    const auto share = [](std::int64_t part, std::size_t whole) {
      return static_cast<double>(part) / static_cast<double>(whole);
    };
    const nlohmann::json report = {{"quantize", quantize},
                                   {"pictures", captions.size()},
                                   {"tokens", tally.tokens},
                                   {"token_agreement", share(tally.agreeing, static_cast<std::size_t>(tally.tokens))},
                                   {"identical_captions", share(tally.same_captions, captions.size())},
                                   {"mean_log_probability_shift", tally.shift / static_cast<double>(tally.tokens)},
                                   {"largest_log_probability_shift", tally.largest_shift}};
    std::cout << report.dump() << std::endl;
    return 0;
  });
}
