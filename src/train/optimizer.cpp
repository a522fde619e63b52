#include "blip2/train/optimizer.h"

#include <cmath>
#include <set>
#include <sstream>
#include <tuple>

#include "blip2/core/error.h"
#include "train/restore_tensors.h"

namespace blip2 {
namespace {

void check_range(const char* name, double value, double low, double high) {
  if (value >= low && value < high) return;
  std::ostringstream sentence;
  sentence << "'" << name << "' must be at least " << low << " and below " << high << ", found " << value;
  throw UserError(sentence.str());
}

}  // namespace

void visit_fields(FieldVisitor& visitor, OptimizerOptions& options) {
  visitor.field("weight_decay", options.weight_decay);
  visitor.field("beta1", options.beta1);
  visitor.field("beta2", options.beta2);
  visitor.field("epsilon", options.epsilon);
  visitor.field("decay_temperature", options.decay_temperature);
}

bool is_decayed(const std::string& name, const at::Tensor& parameter, const OptimizerOptions& options) {
  if (parameter.dim() == 1 || name.ends_with(".bias")) return false;
  return parameter.dim() > 0 || options.decay_temperature;
}

AdamW::AdamW(const NamedTensors& parameters, const OptimizerOptions& options, const LearningRateScale& scale)
    : options_(options) {
  check_range("weight_decay", options.weight_decay, 0.0, INFINITY);
  check_range("beta1", options.beta1, 0.0, 1.0);
  check_range("beta2", options.beta2, 0.0, 1.0);
  check_range("epsilon", options.epsilon, 0.0, INFINITY);

  using Key = std::tuple<double, double, at::ScalarType, std::string>;
  std::map<Key, std::size_t> group_of;
  std::set<const at::TensorImpl*> seen;
  for (const auto& [name, parameter] : parameters) {
    if (!parameter.requires_grad() || !seen.insert(parameter.unsafeGetTensorImpl()).second) continue;
    // The fused kernel walks parameter and gradient as flat arrays.
    TORCH_CHECK(parameter.is_contiguous(), "AdamW: parameter '", name, "' is not contiguous");
    const double decay = is_decayed(name, parameter, options) ? options.weight_decay : 0.0;
    const double factor = scale ? scale(name) : 1.0;
    const Key key{decay, factor, parameter.scalar_type(), parameter.device().str()};
    const auto [group, is_new] = group_of.emplace(key, groups_.size());
    if (is_new) groups_.push_back({decay, factor, {}});
    groups_[group->second].members.push_back(entries_.size());
    const auto value = parameter.detach();
    entries_.push_back({name, parameter, at::zeros_like(value), at::zeros_like(value),
                        at::zeros({}, value.options().dtype(at::kFloat))});
  }
}

void AdamW::zero_gradients() {
  for (auto& entry : entries_) entry.parameter.mutable_grad().reset();
}

std::vector<at::Tensor> AdamW::gradients() const {
  std::vector<at::Tensor> gradients;
  for (const auto& entry : entries_) {
    if (entry.parameter.grad().defined()) gradients.push_back(entry.parameter.grad());
  }
  return gradients;
}

void AdamW::scale_gradients(double factor) {
  const torch::NoGradGuard no_grad;
  if (const auto gradients = this->gradients(); !gradients.empty()) at::_foreach_mul_(gradients, at::Scalar(factor));
}

double AdamW::clip_gradients(double max_norm) {
  const torch::NoGradGuard no_grad;
  const auto gradients = this->gradients();
  if (gradients.empty()) return 0.0;
  std::vector<at::Tensor> norms;
  for (const auto& norm : at::_foreach_norm(gradients)) norms.push_back(norm.to(gradients[0].device(), at::kFloat));
  const double norm = at::linalg_vector_norm(at::stack(norms)).item<double>();
  const double factor = max_norm / (norm + 1e-6);
  if (max_norm > 0 && factor < 1) at::_foreach_mul_(gradients, at::Scalar(factor));
  return norm;
}

void AdamW::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  for (const auto& group : groups_) {
    std::vector<at::Tensor> parameters, gradients, exp_avgs, exp_avg_sqs, steps;
    for (const auto member : group.members) {
      const auto& entry = entries_[member];
      if (!entry.parameter.grad().defined()) continue;
      parameters.push_back(entry.parameter.detach());
      gradients.push_back(entry.parameter.grad().contiguous());
      exp_avgs.push_back(entry.exp_avg);
      exp_avg_sqs.push_back(entry.exp_avg_sq);
      steps.push_back(entry.step);
    }
    if (parameters.empty()) continue;
    at::_foreach_add_(steps, at::Scalar(1));
    at::_fused_adamw_(parameters, gradients, exp_avgs, exp_avg_sqs, /*max_exp_avg_sqs=*/{}, steps,
                      learning_rate * group.scale, options_.beta1, options_.beta2, group.weight_decay, options_.epsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
  }
}

NamedTensors AdamW::state() const {
  NamedTensors state;
  for (const auto& entry : entries_) {
    state.emplace(entry.name + ".exp_avg", entry.exp_avg);
    state.emplace(entry.name + ".exp_avg_sq", entry.exp_avg_sq);
    state.emplace(entry.name + ".step", entry.step);
  }
  return state;
}

void AdamW::load_state(const NamedTensors& state) {
  restore_tensors(this->state(), state, "the optimizer state");
}

}  // namespace blip2
