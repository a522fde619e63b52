#include "blip2/nn/activation_checkpointing.h"

#include <torch/torch.h>

#include <algorithm>
#include <optional>

#include "blip2/core/generator_state.h"
#include "blip2/nn/autocast.h"
#include "blip2/nn/linear.h"

namespace blip2 {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/** A segment and the circumstances of its first run. The autograd context stores no C++ objects but as a capsule. */
struct Rerun : torch::CustomClassHolder {
  explicit Rerun(Segment given, const at::Device& where)
      : segment(std::move(given)),
        device(where),
        random(generator_state(where)),
        precision(Autocast::active(where.type())),
        adds_in_place(GradientsInPlace::active()) {}

  Segment segment;
  at::Device device;
  GeneratorState random;
  Precision precision;
  bool adds_in_place;
};

/** The inputs as leaves of a graph of their own. */
tensor_list as_leaves(const tensor_list& inputs, const std::vector<bool>& wanted) {
  tensor_list leaves;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    leaves.push_back(inputs[i].detach());
    if (wanted[i]) leaves.back().requires_grad_(true);
  }
  return leaves;
}

class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  static at::Tensor forward(AutogradContext* context, at::TensorList given, const c10::intrusive_ptr<Rerun>& rerun) {
    const tensor_list inputs = given.vec();
    context->save_for_backward(inputs);
    context->saved_data["rerun"] = c10::IValue::make_capsule(rerun);
    // With a graph that is dropped at once: without one, layers may take other, faster products, and the second run
    // would differ in the last digit.
    const torch::AutoGradMode as_later(true);
    std::vector<bool> wanted;
    for (const at::Tensor& input : inputs) wanted.push_back(input.requires_grad());
    return rerun->segment(as_leaves(inputs, wanted)).detach();
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto rerun = c10::static_intrusive_pointer_cast<Rerun>(context->saved_data["rerun"].toCapsule());
    const tensor_list inputs = context->get_saved_variables();
    std::vector<bool> wanted;
    for (std::size_t i = 0; i < inputs.size(); ++i) wanted.push_back(context->needs_input_grad(i));
    const tensor_list leaves = as_leaves(inputs, wanted);
    const GeneratorState now = generator_state(rerun->device);
    restore_generator_state(rerun->random);
    {
      const torch::AutoGradMode record(true);
      std::optional<GradientsInPlace> in_place;
      if (rerun->adds_in_place) in_place.emplace();
      at::Tensor output;
      {
        const Autocast as_before(rerun->precision, rerun->device.type());
        output = rerun->segment(leaves);
      }
      torch::autograd::backward({output}, {gradients[0]});
    }
    restore_generator_state(now);
    tensor_list result;
    for (const at::Tensor& leaf : leaves) result.push_back(leaf.grad());
    result.emplace_back();
    return result;
  }
};

}  // namespace

bool& ActivationCheckpointing::active() {
  thread_local bool on = false;
  return on;
}

bool is_checkpointed(const std::vector<at::Tensor>& inputs) {
  return ActivationCheckpointing::active() && at::GradMode::is_enabled() &&
         std::any_of(inputs.begin(), inputs.end(),
                     [](const at::Tensor& x) { return x.defined() && x.requires_grad(); });
}

at::Tensor checkpointed(const std::vector<at::Tensor>& inputs, const Segment& segment) {
  if (!is_checkpointed(inputs)) return segment(inputs);
  // Autograd wants tensors that are defined, in a list: it does not look into a vector.
  tensor_list defined;
  std::vector<bool> is_defined;
  for (const at::Tensor& input : inputs) {
    is_defined.push_back(input.defined());
    if (input.defined()) defined.push_back(input);
  }
  const Segment of_defined = [segment, is_defined](const tensor_list& given) {
    tensor_list all;
    auto next = given.begin();
    for (const bool there : is_defined) all.push_back(there ? *next++ : at::Tensor());
    return segment(all);
  };
  return Checkpoint::apply(at::TensorList(defined), c10::make_intrusive<Rerun>(of_defined, defined.front().device()));
}

}  // namespace blip2
