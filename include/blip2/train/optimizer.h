// AdamW over named parameters, with the two groups that LAVIS forms (lavis spec 7.1): what is one-dimensional or ends
// in ".bias" is not decayed, everything else is, the 0-D temperature included. The mathematics is torch.optim.AdamW's
// (Loshchilov and Hutter 2019, algorithm 2) through LibTorch's fused kernel. The state is keyed by parameter name, not
// by position, so it survives a change of registration order.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/core/field_visitor.h"

namespace blip2 {

struct OptimizerOptions {
  double weight_decay = 0.05;
  double beta1 = 0.9;
  /** LAVIS's default; the paper trains with 0.98. */
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /** True decays 0-D parameters (the contrastive temperature) as LAVIS does. */
  bool decay_temperature = true;
};

void visit_fields(FieldVisitor& visitor, OptimizerOptions& options);

/** Whether AdamW decays a parameter (lavis spec 7.1). */
bool is_decayed(const std::string& name, const at::Tensor& parameter, const OptimizerOptions& options);

class AdamW {
 public:
  /** Factor on the learning rate of one parameter, for layer-wise decay. */
  using LearningRateScale = std::function<double(const std::string& name)>;

  /**
   * Takes leaves of any shape and floating dtype; those that require no gradient, and a tensor's second name, are left
   * out. Throws UserError for an option out of its range.
   */
  AdamW(const NamedTensors& parameters, const OptimizerOptions& options, const LearningRateScale& scale = {});

  /** Drops all gradients. */
  void zero_gradients();

  /** Multiplies all gradients. */
  void scale_gradients(double factor);

  /**
   * The global 2-norm of all gradients; where `max_norm` > 0 and the norm is larger, the gradients are scaled down to
   * it (torch.nn.utils.clip_grad_norm_). 0 when there is no gradient.
   */
  double clip_gradients(double max_norm);

  /** One update of every parameter that has a gradient; the others keep value and state. */
  void step(double learning_rate);

  /** `NAME.exp_avg`, `NAME.exp_avg_sq` (shape of the parameter) and `NAME.step` [] for every parameter; shares memory.
   */
  NamedTensors state() const;

  /** Restores what state() gave. Throws one UserError that lists the missing, misshapen and unknown entries. */
  void load_state(const NamedTensors& state);

  std::int64_t parameter_count() const { return static_cast<std::int64_t>(entries_.size()); }

 private:
  struct Entry {
    std::string name;
    at::Tensor parameter;
    at::Tensor exp_avg;
    at::Tensor exp_avg_sq;
    at::Tensor step;
  };
  /** Entries that one kernel call can update: equal decay, rate, dtype and device. */
  struct Group {
    double weight_decay;
    double scale;
    std::vector<std::size_t> members;
  };
  std::vector<at::Tensor> gradients() const;

  OptimizerOptions options_;
  std::vector<Entry> entries_;
  std::vector<Group> groups_;
};

}  // namespace blip2
