// Low-rank adapters (LoRA) as PEFT saves them: adapter_config.json beside adapter_model.safetensors, or the older
// adapter_model.bin. Here they are merged into the weights that they adapt, W + scale * B A, so that the model is as
// fast as without. Only what merging reproduces exactly is accepted.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace torch::nn {
class Module;
}

namespace blip2 {

/** Folders of adapters; each is added to what the ones before made. */
using LoraFolders = std::vector<std::filesystem::path>;

/** What an adapter adds to one matrix [out, in]: scale * b * a. */
struct LoraUpdate {
  at::Tensor a;      // [r, in]
  at::Tensor b;      // [out, r]
  double scale = 1;  // alpha / r, or alpha / sqrt(r) with use_rslora
};

/** An adapter in memory. */
class LoraAdapter {
 public:
  /**
   * Reads and checks the folder. Throws one UserError that lists everything in it that is not a plain LoRA: another
   * kind of adapter, DoRA, biases, modules_to_save, initialisations that change the base model (PiSSA, OLoRA...),
   * tensors that are no pair of lora_A [r, in] and lora_B [out, r].
   */
  explicit LoraAdapter(const std::filesystem::path& folder);

  /** Whether the folder holds an adapter. */
  static bool is_in(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }

  /** By the name of the parameter in the model: "language_model.model.decoder.layers.0.self_attn.q_proj.weight". */
  const std::map<std::string, LoraUpdate>& updates() const { return updates_; }

 private:
  std::filesystem::path folder_;
  std::map<std::string, LoraUpdate> updates_;
};

/**
 * Merges the adapter in `folder` into the weights of `module`; an adapter of a language model alone fits the
 * `language_model` of a larger module too. A weight that is kept narrower than float32 becomes float32, so that nothing
 * is rounded. Throws one UserError that lists every matrix that the module lacks, that has another shape or is rounded
 * to int8 already, and then changes nothing.
 */
void merge_lora(torch::nn::Module& module, const std::filesystem::path& folder);

}  // namespace blip2
