// What greedy search and beam search share: the prepared search and the ids of the rows that are being extended.
#pragma once

#include <ATen/core/Generator.h>

#include <memory>
#include <optional>
#include <vector>

#include "blip2/generate/generate.h"
#include "blip2/generate/logits_processor.h"

namespace blip2::detail {

/** A search that is ready to run: the prompt has been read. */
struct Search {
  LanguageModel& model;
  const GenerationOptions& options;
  const StepObserver& observer;
  LengthLimits limits;
  SpecialIds special;
  LogitsProcessors processors;
  History prompt;                          // B rows
  std::unique_ptr<DecodingState> state;    // B rows
  at::Tensor logits;                       // [B, vocabulary]
  std::optional<at::Generator> generator;  // set when sampling
};

/** The ids of R rows, prompt included, with room up to the largest length; int64 on the CPU. */
class IdRows {
 public:
  IdRows(const History& prompt, std::int64_t capacity);

  std::int64_t size() const { return ids_.size(0); }
  std::int64_t length() const { return length_; }
  History history() const;
  /** The ids of row r after the first `from`. */
  std::vector<std::int64_t> row(std::int64_t r, std::int64_t from) const;
  /** Row r continues what rows[r] was. */
  void select(const std::vector<std::int64_t>& rows);
  void append(const std::vector<std::int64_t>& tokens);

 private:
  at::Tensor ids_;  // [R, capacity]
  at::Tensor padding_;
  at::Tensor encoder_ids_;
  std::int64_t length_;
};

at::Tensor long_tensor(const std::vector<std::int64_t>& values, at::Device device);

/** Writes each hypothesis' whole row: prompt ids, new tokens, then `fill` up to the longest answer of all. */
void complete_rows(const History& prompt, std::int64_t fill, Generated& generated);

Generated token_search(Search search);
Generated beam_search(Search search);

}  // namespace blip2::detail
