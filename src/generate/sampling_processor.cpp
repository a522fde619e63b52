// Temperature and the ways to cut unlikely tokens before sampling (Hugging Face specification, section 7.3). All keep
// at least one token, in beam search two: one to end a hypothesis with and one to go on.
#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "blip2/generate/logits_processor.h"

namespace blip2 {
namespace {

at::Tensor remove(const at::Tensor& scores, const at::Tensor& removed) {
  return scores.masked_fill(removed, -std::numeric_limits<double>::infinity());
}

/** `removed` over the tokens in the order `index` -> over the tokens in their own order. */
at::Tensor unsort(const at::Tensor& removed, const at::Tensor& index) {
  return removed.scatter(1, index, removed);
}

/** The k-th largest score of each row, [R, 1]. */
at::Tensor kth_largest(const at::Tensor& scores, std::int64_t k) {
  return std::get<0>(scores.topk(std::min(k, scores.size(1)), 1)).slice(1, -1);
}

/** Entropy [R, 1] of log-probabilities [R, V]; a forbidden token adds nothing. */
at::Tensor entropy(const at::Tensor& log_probabilities) {
  return -(log_probabilities * log_probabilities.exp()).nansum(-1, /*keepdim=*/true);
}

class Temperature final : public LogitsProcessor {
 public:
  explicit Temperature(double temperature) : temperature_(temperature) {}
  at::Tensor operator()(const History&, const at::Tensor& scores) const override { return scores / temperature_; }
  const char* name() const override { return "temperature"; }

 private:
  double temperature_;
};

class TopK final : public LogitsProcessor {
 public:
  TopK(std::int64_t k, std::int64_t keep) : k_(std::max(k, keep)) {}
  at::Tensor operator()(const History&, const at::Tensor& scores) const override {
    return remove(scores, scores < kth_largest(scores, k_));  // ties with the k-th survive
  }
  const char* name() const override { return "top_k"; }

 private:
  std::int64_t k_;
};

class TopP final : public LogitsProcessor {
 public:
  TopP(double p, std::int64_t keep) : p_(p), keep_(keep) {}
  at::Tensor operator()(const History&, const at::Tensor& scores) const override {
    const auto [sorted, index] = scores.sort(/*stable=*/true, -1, /*descending=*/false);
    at::Tensor removed = sorted.softmax(-1).cumsum(-1) <= (1.0 - p_);
    removed.slice(1, -std::min(keep_, scores.size(1))).fill_(false);
    return remove(scores, unsort(removed, index));
  }
  const char* name() const override { return "top_p"; }

 private:
  double p_;
  std::int64_t keep_;
};

class MinP final : public LogitsProcessor {
 public:
  MinP(double p, std::int64_t keep) : p_(p), keep_(keep) {}
  at::Tensor operator()(const History&, const at::Tensor& scores) const override {
    const at::Tensor probabilities = scores.softmax(-1);
    const at::Tensor removed = probabilities < p_ * probabilities.amax(-1, /*keepdim=*/true);
    const at::Tensor index = std::get<1>(scores.sort(/*stable=*/true, -1, /*descending=*/true));
    at::Tensor sorted = removed.gather(1, index);
    sorted.slice(1, 0, keep_).fill_(false);
    return remove(scores, unsort(sorted, index));
  }
  const char* name() const override { return "min_p"; }

 private:
  double p_;
  std::int64_t keep_;
};

class Typical final : public LogitsProcessor {
 public:
  Typical(double mass, std::int64_t keep) : mass_(mass), keep_(keep) {}
  at::Tensor operator()(const History&, const at::Tensor& scores) const override {
    const at::Tensor log_probabilities = scores.log_softmax(-1);
    const at::Tensor surprise = (-log_probabilities - entropy(log_probabilities)).abs();
    const auto [sorted, index] = surprise.sort(/*stable=*/true, -1, /*descending=*/false);
    const at::Tensor mass = scores.gather(1, index).softmax(-1).cumsum(-1);
    const at::Tensor last = (mass < mass_).sum(1, /*keepdim=*/true).clamp_max(scores.size(1) - 1);
    at::Tensor removed = sorted > sorted.gather(1, last);
    removed.slice(1, 0, keep_).fill_(false);
    return remove(scores, unsort(removed, index));
  }
  const char* name() const override { return "typical_p"; }

 private:
  double mass_;
  std::int64_t keep_;
};

class EpsilonCutoff final : public LogitsProcessor {
 public:
  EpsilonCutoff(double epsilon, std::int64_t keep) : epsilon_(epsilon), keep_(keep) {}
  at::Tensor operator()(const History&, const at::Tensor& scores) const override {
    return remove(scores, (scores.softmax(-1) < epsilon_).logical_and(scores < kth_largest(scores, keep_)));
  }
  const char* name() const override { return "epsilon_cutoff"; }

 private:
  double epsilon_;
  std::int64_t keep_;
};

class EtaCutoff final : public LogitsProcessor {
 public:
  EtaCutoff(double epsilon, std::int64_t keep) : epsilon_(epsilon), keep_(keep) {}
  at::Tensor operator()(const History&, const at::Tensor& scores) const override {
    const at::Tensor eta = (std::sqrt(epsilon_) * (-entropy(scores.log_softmax(-1))).exp()).clamp_max(epsilon_);
    return remove(scores, (scores.softmax(-1) < eta).logical_and(scores < kth_largest(scores, keep_)));
  }
  const char* name() const override { return "eta_cutoff"; }

 private:
  double epsilon_;
  std::int64_t keep_;
};

}  // namespace

void detail::append_sampling_processors(const GenerationOptions& options, LogitsProcessors& list) {
  const std::int64_t keep = options.num_beams > 1 ? 2 : 1;
  if (options.temperature != 1.0) list.push_back(std::make_unique<Temperature>(options.temperature));
  if (options.top_k > 0) list.push_back(std::make_unique<TopK>(options.top_k, keep));
  if (options.top_p < 1.0) list.push_back(std::make_unique<TopP>(options.top_p, keep));
  if (options.min_p > 0.0) list.push_back(std::make_unique<MinP>(options.min_p, keep));
  if (options.typical_p < 1.0) list.push_back(std::make_unique<Typical>(options.typical_p, keep));
  if (options.epsilon_cutoff > 0.0) list.push_back(std::make_unique<EpsilonCutoff>(options.epsilon_cutoff, keep));
  if (options.eta_cutoff > 0.0) list.push_back(std::make_unique<EtaCutoff>(options.eta_cutoff, keep));
}

}  // namespace blip2
