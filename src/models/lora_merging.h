// Merging adapters while a model is loaded: each matrix as soon as it is filled and before it is rounded to int8, so
// that a quantized model with an adapter needs no more memory than one without.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "blip2/checkpoint/module_state.h"
#include "blip2/models/lora_adapter.h"

namespace blip2 {

/** Which of an adapter's changes a module takes. */
struct LoraScope {
  /** The module's `weight` is the adapter's `PREFIXweight`; what it changes outside the prefix is nobody's business. */
  std::string prefix;
  /** So begin the module's names that are filled from elsewhere: nobody's business either. */
  std::vector<std::string> except;
  /** False: what the module lacks is passed over. */
  bool strict = true;
};

class LoraMerging {
 public:
  /** Reads the adapters. Throws as LoraAdapter does. */
  explicit LoraMerging(const LoraFolders& folders = {});

  /**
   * The named adapters but for those beside the weights in `merged`, which are merged with these: naming one changes
   * nothing. Throws UserError for a folder that is named twice.
   */
  static LoraFolders without(const LoraFolders& named, const std::vector<std::filesystem::path>& merged);

  /** The adapters that `folder` holds itself (none or one) and then the named ones without it, as above. */
  static LoraFolders with_own(const std::filesystem::path& folder, const LoraFolders& named = {});

  /** Finds what the adapters change in `module`. Throws as merge_lora does. */
  void bind(torch::nn::Module& module, const LoraScope& scope = {});

  /**
   * Merges every matrix of the bound module that is loaded with `options`, which call it without `prefix`, and whose
   * own name begins with `part`. For options that are done with before this object is, and that are complete: what they
   * do to a filled matrix comes later.
   */
  void attach(LoadOptions& options, const std::string& prefix = "", const std::string& part = "");

  /** Merges what has not been merged yet: after loading, so that nothing that was bound is left out. */
  void finish();

 private:
  struct Target {
    at::Tensor parameter;
    std::vector<LoraUpdate> updates;
  };
  void merge(const std::string& name);

  std::vector<LoraAdapter> adapters_;
  std::map<std::string, Target> pending_;  // by the parameter's name in the bound module
};

}  // namespace blip2
