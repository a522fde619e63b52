// Parameters of a module by name, out and in. LibTorch's copy_ broadcasts silently and its serialize knows no names of
// other programs, so loading compares names and shapes itself, and changes nothing unless everything fits.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "blip2/checkpoint/safetensors.h"

namespace torch::nn {
class Module;
}

namespace blip2 {

class ModelTensors;

/** Says whether a parameter is wanted. */
using ParameterFilter = std::function<bool(const std::string& name, const at::Tensor& parameter)>;

/** The parameters of `module` under their registered names; no filter means all. Not copies: they share storage. */
NamedTensors named_parameters(const torch::nn::Module& module, const ParameterFilter& wanted = nullptr);

/** The parameters that are trained: those with requires_grad. */
NamedTensors trainable_parameters(const torch::nn::Module& module);

struct LoadOptions {
  /** Names the file or folder in messages. */
  std::string source = "checkpoint";
  /** The module's `weight` is the source's `PREFIXweight`; tensors outside the prefix are nobody's business. */
  std::string prefix;
  /**
   * Source tensors to pass over: "position_ids" means every name that ends in this component, "language_model." (with
   * the dot) every name that begins so, after the prefix. A parameter of such a name is not missed either.
   */
  std::vector<std::string> ignore = {"position_ids"};
  /** Parameters that the source has under another name: own name -> the source's, both without the prefix. */
  std::map<std::string, std::string> stored_as;
  /** Parameters that take over the source's dtype where that is a narrower floating one, to save memory. */
  std::function<bool(const std::string& name)> keeps_stored_dtype;
  /** Called with a parameter's name as soon as it is filled. */
  std::function<void(const std::string& name)> filled;
  /** Missing and unexpected tensors are errors; otherwise they are reported. A wrong shape is always an error. */
  bool strict = true;
};

/** Names as the source would spell them, in order. */
struct LoadReport {
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
};

/**
 * Copies tensors into the parameters of `module`, converting the floating dtype and the device. Throws one UserError
 * that lists everything that is missing, misshapen or unexpected and then leaves every parameter untouched.
 */
LoadReport load_parameters(torch::nn::Module& module, const NamedTensors& tensors, const LoadOptions& options = {});

/** The same from an open folder, one tensor in memory at a time; `options.source` is the folder where it is left alone.
 */
LoadReport load_parameters(torch::nn::Module& module, const ModelTensors& tensors, LoadOptions options = {});

}  // namespace blip2
