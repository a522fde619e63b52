// What a reference case asks of search: entries of options and prompts, and answers to rank.
#pragma once

#include <nlohmann/json.hpp>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/models/run_folder.h"

namespace blip2 {

/** Texts [B, T] as the model reads them behind `rows` pictures: with placeholders where its config has an id for them.
 */
TextTokens case_text(GeneratorModel& generator, const std::vector<std::string>& prompts);

/**
 * Every entry of `asked` (expected.json's "generate"): rows, ids, texts and scores as JSON, and each step's processed
 * scores into `trace` as `generate.ENTRY.scores` [steps, rows * beams, V]. `projected` are all pictures' tokens.
 */
nlohmann::json run_searches(GeneratorModel& generator, const at::Tensor& projected, const nlohmann::json& asked,
                            NamedTensors& trace);

/** Each picture and prompt with its answers (expected.json's "rank_answers"). */
nlohmann::json rank_case_answers(GeneratorModel& generator, const at::Tensor& projected, const nlohmann::json& asked);

/** Ids of the answers alone: greedy or beam search over rows of pictures and their text. */
nlohmann::json search_sequences(GeneratorModel& generator, const at::Tensor& projected, const TextTokens& text,
                                const nlohmann::json& options);

}  // namespace blip2
