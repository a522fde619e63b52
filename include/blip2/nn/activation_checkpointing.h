// Activation checkpointing (Chen et al. 2016): a layer keeps its inputs instead of everything that lies between them
// and its output, and the backward pass computes the layer once more. Memory falls from all activations to one tensor a
// layer, a step takes about a third longer, and no digit changes: the random generators are set back first.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace blip2 {

/** While one lives in a thread, checkpointed() keeps only inputs. */
class ActivationCheckpointing {
 public:
  explicit ActivationCheckpointing(bool on = true) : before_(active()) { active() = on; }
  ~ActivationCheckpointing() { active() = before_; }
  ActivationCheckpointing(const ActivationCheckpointing&) = delete;
  ActivationCheckpointing& operator=(const ActivationCheckpointing&) = delete;

  static bool& active();

 private:
  bool before_;
};

/** A part of a model: tensors of any shapes -> one tensor. It may use parameters beside its inputs. */
using Segment = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;

/** Whether checkpointed() would compute a segment of these inputs again instead of keeping what it computes. */
bool is_checkpointed(const std::vector<at::Tensor>& inputs);

/**
 * segment(inputs). Where is_checkpointed(inputs), the segment runs again in the backward pass, so that what it refers
 * to must outlive that; it must be a function of its inputs, of parameters and of torch's generators. Inputs may be
 * undefined. Gradients of parameters go to their `grad`: torch::autograd::grad() of them is empty.
 */
at::Tensor checkpointed(const std::vector<at::Tensor>& inputs, const Segment& segment);

}  // namespace blip2
