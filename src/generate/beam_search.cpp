// Beam search and beam-sample as the reference has done them since its version 4.50 (Hugging Face specification,
// section 7.5). Only the choice of the best 2 K candidates per row runs over the vocabulary, on the model's device; the
// bookkeeping is plain code in float32, which the reference computes in. kNever plays minus infinity, as there.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "generate/search.h"

namespace blip2::detail {
namespace {

constexpr float kWorst = -1.0e9F;

struct Beam {
  float score = kWorst;  // sum of log-probabilities; of a finished one length-penalised
  bool finished = false;
  std::vector<std::int64_t> tokens;  // new ones; running beams keep theirs in IdRows
  std::vector<double> log_probabilities;
};

/** One prompt row with its beams, all of them best first. */
struct Item {
  std::int64_t row = 0;  // of the prompt
  std::vector<Beam> running;
  std::vector<Beam> finished;
  bool can_improve = true;
};

struct Candidate {
  float score = 0.0F;
  std::int64_t beam = 0;
  std::int64_t token = 0;
  double log_probability = 0.0;
  bool hit = false;  // nothing can follow it
};

/** The rows that go on: whose state each inherits and the token it says. */
struct Continuation {
  std::vector<std::int64_t> parents;
  std::vector<std::int64_t> tokens;
};

/** Indices of the `count` largest values, equal ones in their order. */
template <typename Score>
std::vector<std::size_t> best(std::size_t size, std::size_t count, Score score) {
  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score(a) > score(b); });
  order.resize(count);
  return order;
}

class BeamSearch {
 public:
  explicit BeamSearch(Search search);
  Generated run();

 private:
  /** Scores [items * beams, vocabulary] of the next token, after the processors. */
  at::Tensor next_scores(std::int64_t step) const;
  std::vector<std::vector<Candidate>> candidates(const at::Tensor& scores) const;
  void finish(Item& item, const std::vector<Candidate>& found, std::size_t first_row) const;
  void check_improvement(Item& item) const;
  bool is_done(const Item& item) const;
  /** Replaces each item's running beams by the best candidates that something can follow. */
  Continuation choose(const std::vector<std::vector<Candidate>>& found);
  /** Takes the items that are done out of the batch, and their rows out of `next`. */
  void drop_done(Continuation& next);
  void feed(const Continuation& next);
  Generated result();
  float penalised(float score, std::int64_t length) const {
    return score / static_cast<float>(std::pow(static_cast<double>(length), search_.options.length_penalty));
  }
  std::int64_t new_length() const { return ids_.length() - search_.limits.prompt_length; }
  /** What the log-probability of `new_tokens` is divided by the power of; `ended` where the last of them is the end. */
  std::int64_t counted_length(std::int64_t new_tokens, bool ended) const {
    if (!search_.options.length_counts_prompt) return new_tokens;
    return search_.limits.prompt_length + new_tokens - (ended ? 1 : 0);
  }
  /** Tensor row of a beam; before the first token all beams of an item share one row. */
  std::int64_t tensor_row(std::size_t item, std::int64_t beam) const {
    return shared_ ? static_cast<std::int64_t>(item) : static_cast<std::int64_t>(item) * beams_ + beam;
  }

  Search search_;
  std::int64_t beams_;
  IdRows ids_;
  std::vector<Item> items_;  // those still in the batch
  std::vector<Item> done_;
  bool shared_ = true;
};

BeamSearch::BeamSearch(Search search)
    : search_(std::move(search)), beams_(search_.options.num_beams), ids_(search_.prompt, search_.limits.max_length) {
  TORCH_CHECK(search_.logits.size(1) >= 2, "generate: beam search needs a vocabulary of two tokens or more");
  for (std::int64_t row = 0; row < ids_.size(); ++row) {
    Item item{row, std::vector<Beam>(beams_), std::vector<Beam>(beams_), true};
    item.running.front().score = 0.0F;
    items_.push_back(std::move(item));
  }
}

at::Tensor BeamSearch::next_scores(std::int64_t step) const {
  at::Tensor scores = process(search_.processors, ids_.history(), search_.logits.to(at::kFloat).log_softmax(-1));
  if (shared_) scores = scores.repeat_interleave(beams_, 0);
  if (search_.observer) search_.observer({step, scores});
  return scores;
}

std::vector<std::vector<Candidate>> BeamSearch::candidates(const at::Tensor& scores) const {
  const std::int64_t vocabulary = scores.size(1);
  const auto rows = static_cast<std::int64_t>(items_.size());
  const std::int64_t count = 2 * beams_;
  std::vector<float> sums;
  for (const auto& item : items_) {
    for (const auto& beam : item.running) sums.push_back(beam.score);
  }
  const at::Tensor before = at::tensor(sums, at::kFloat).to(scores.device()).unsqueeze(1);
  const at::Tensor total = (scores + before).view({rows, beams_ * vocabulary});
  const at::Tensor index = search_.options.do_sample
                               ? at::multinomial(total.softmax(-1), count, /*replacement=*/false, search_.generator)
                               : std::get<1>(total.topk(count, -1, /*largest=*/true, /*sorted=*/true));
  const at::Tensor own = scores.view({rows, beams_ * vocabulary}).gather(1, index);
  const at::Tensor values = at::stack({total.gather(1, index), own}).cpu();
  const at::Tensor positions = index.cpu();
  TORCH_CHECK(!values.isnan().any().item<bool>(), "generate: the language model's scores are not numbers (NaN)");

  const float* value = values.const_data_ptr<float>();
  const std::int64_t* position = positions.const_data_ptr<std::int64_t>();
  const bool last = ids_.length() + 1 >= search_.limits.max_length;
  std::vector<std::vector<Candidate>> found(items_.size());
  for (std::int64_t i = 0; i < rows * count; ++i) {
    const std::int64_t token = position[i] % vocabulary;
    found[i / count].push_back(
        {value[i], position[i] / vocabulary, token, value[rows * count + i], last || token == search_.special.end});
  }
  return found;
}

void BeamSearch::finish(Item& item, const std::vector<Candidate>& found, std::size_t index) const {
  const auto beams = static_cast<std::size_t>(beams_);
  const bool all_finished =
      std::all_of(item.finished.begin(), item.finished.end(), [](const Beam& b) { return b.finished; });
  const bool full = all_finished && search_.options.early_stopping == EarlyStopping::kYes;
  std::vector<Beam> merged = std::move(item.finished);
  for (std::size_t c = 0; c < found.size(); ++c) {
    const Candidate& candidate = found[c];
    Beam beam;
    beam.finished = candidate.hit && c < beams;
    beam.score = penalised(candidate.score, counted_length(new_length() + 1, candidate.token == search_.special.end));
    if (full) beam.score += kWorst;
    if (!item.can_improve) beam.score += kWorst;
    if (!beam.finished) beam.score += kWorst;
    if (beam.finished) {
      beam.tokens = ids_.row(tensor_row(index, candidate.beam), search_.limits.prompt_length);
      beam.tokens.push_back(candidate.token);
      beam.log_probabilities = item.running[candidate.beam].log_probabilities;
      beam.log_probabilities.push_back(candidate.log_probability);
    }
    merged.push_back(std::move(beam));
  }
  item.finished.clear();
  for (const std::size_t m : best(merged.size(), beams, [&](std::size_t i) { return merged[i].score; })) {
    item.finished.push_back(std::move(merged[m]));
  }
}

void BeamSearch::check_improvement(Item& item) const {
  const bool look_ahead =
      search_.options.early_stopping == EarlyStopping::kNever && search_.options.length_penalty > 0.0;
  const std::int64_t length = look_ahead ? search_.limits.max_length - search_.limits.prompt_length : new_length();
  const float reachable = penalised(item.running.front().score, counted_length(length, /*ended=*/false));
  const float worst = std::min_element(item.finished.begin(), item.finished.end(), [](const Beam& a, const Beam& b) {
                        return a.score < b.score;
                      })->score;
  const bool beats = std::any_of(item.finished.begin(), item.finished.end(),
                                 [&](const Beam& beam) { return reachable > (beam.finished ? worst : kWorst); });
  item.can_improve = item.can_improve && beats;
}

bool BeamSearch::is_done(const Item& item) const {
  const bool full = search_.options.early_stopping == EarlyStopping::kYes &&
                    std::all_of(item.finished.begin(), item.finished.end(), [](const Beam& b) { return b.finished; });
  return full || !item.can_improve;
}

Continuation BeamSearch::choose(const std::vector<std::vector<Candidate>>& found) {
  Continuation next;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const auto score = [&](std::size_t c) { return found[i][c].score + (found[i][c].hit ? kWorst : 0.0F); };
    std::vector<Beam> running;
    for (const std::size_t c : best(found[i].size(), static_cast<std::size_t>(beams_), score)) {
      const Candidate& candidate = found[i][c];
      Beam beam;
      beam.score = score(c);
      beam.log_probabilities = items_[i].running[candidate.beam].log_probabilities;
      beam.log_probabilities.push_back(candidate.log_probability);
      running.push_back(std::move(beam));
      next.parents.push_back(tensor_row(i, candidate.beam));
      next.tokens.push_back(candidate.token);
    }
    items_[i].running = std::move(running);
  }
  ids_.select(next.parents);
  ids_.append(next.tokens);
  shared_ = false;
  return next;
}

void BeamSearch::drop_done(Continuation& next) {
  std::vector<Item> open;
  std::vector<std::int64_t> rows;
  Continuation kept;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (is_done(items_[i])) {
      done_.push_back(std::move(items_[i]));
      continue;
    }
    for (std::int64_t k = 0; k < beams_; ++k) {
      rows.push_back(tensor_row(i, k));
      kept.parents.push_back(next.parents[rows.back()]);
      kept.tokens.push_back(next.tokens[rows.back()]);
    }
    open.push_back(std::move(items_[i]));
  }
  items_ = std::move(open);
  ids_.select(rows);
  next = std::move(kept);
}

void BeamSearch::feed(const Continuation& next) {
  const at::Device device = search_.logits.device();
  bool unchanged = static_cast<std::int64_t>(next.parents.size()) == search_.logits.size(0);
  for (std::size_t r = 0; r < next.parents.size(); ++r) {
    unchanged = unchanged && next.parents[r] == static_cast<std::int64_t>(r);
  }
  if (!unchanged) search_.state->reorder(long_tensor(next.parents, device));
  search_.logits = search_.model.step(*search_.state, long_tensor(next.tokens, device));
}

Generated BeamSearch::run() {
  for (std::int64_t step = 0;; ++step) {
    const auto found = candidates(next_scores(step));
    bool all_hit = true;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      finish(items_[i], found[i], i);
      all_hit = all_hit && std::all_of(found[i].begin(), found[i].end(), [](const Candidate& c) { return c.hit; });
    }
    Continuation next = choose(found);
    for (auto& item : items_) check_improvement(item);
    if (all_hit || std::all_of(items_.begin(), items_.end(), [this](const Item& i) { return is_done(i); })) break;
    if (!search_.options.do_sample && !search_.observer) drop_done(next);
    feed(next);
  }
  return result();
}

Generated BeamSearch::result() {
  std::move(done_.begin(), done_.end(), std::back_inserter(items_));
  Generated generated(items_.size());
  for (auto& item : items_) {
    for (std::int64_t n = 0; n < search_.options.num_return_sequences; ++n) {
      Hypothesis hypothesis;
      hypothesis.new_tokens = std::move(item.finished[n].tokens);
      hypothesis.token_log_probabilities = std::move(item.finished[n].log_probabilities);
      hypothesis.score = item.finished[n].score;
      generated[item.row].push_back(std::move(hypothesis));
    }
  }
  // The reference takes a padding id of 0 (T5) for "none" here and fills with the end token.
  complete_rows(search_.prompt, search_.special.padding > 0 ? search_.special.padding : search_.special.end, generated);
  return generated;
}

}  // namespace

Generated beam_search(Search search) {
  return BeamSearch(std::move(search)).run();
}

}  // namespace blip2::detail
