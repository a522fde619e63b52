// PEFT gains ways to adapt a model faster than this file learns of them: tensors that are no plain lora_A or lora_B are
// refused besides (lora_adapter.cpp), and what is checked here are the keys that change the result without a tensor.
#include "models/lora_config.h"

#include <unicode/regex.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "blip2/core/error.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::int32_t kMostSteps = 1000;  // of ICU, some milliseconds each
constexpr double kLargestRank = 1 << 20;

/** Null, false, an empty list or object: the feature is not used. */
bool is_off(const json& value) {
  return value.is_null() || value == json(false) || (value.is_structured() && value.empty());
}

std::string shown(const json& value) {
  return value.is_string() ? in_quotes(value.get<std::string>())
                           : value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 120);
}

/** Initialisations that leave the base model as it is; the others move a part of it into the adapter. */
bool keeps_base(const json& initialization) {
  static const std::array<json, 6> kKeeping{true, false, nullptr, "gaussian", "orthogonal", "eva"};
  return std::find(kKeeping.begin(), kKeeping.end(), initialization) != kKeeping.end();
}

double read_number(const json& config, const char* key, double smallest, double largest,
                   std::vector<std::string>& problems) {
  const auto found = config.find(key);
  if (found != config.end() && found->is_number()) {
    const auto value = found->get<double>();
    if (value >= smallest && value <= largest) return value;
  }
  problems.push_back(std::string(key) + " is " + (found == config.end() ? "missing" : shown(*found)));
  return 1;
}

bool matches(const std::string& expression, const std::string& module) {
  UErrorCode status = U_ZERO_ERROR;
  icu::RegexMatcher matcher(icu::UnicodeString::fromUTF8("(.*\\.)?(" + expression + ")"), 0, status);
  const icu::UnicodeString text = icu::UnicodeString::fromUTF8(module);
  if (U_SUCCESS(status)) matcher.setTimeLimit(kMostSteps, status);
  if (U_SUCCESS(status)) matcher.reset(text);
  const bool found = U_SUCCESS(status) && matcher.matches(status) != 0;
  if (U_SUCCESS(status)) return found;
  throw UserError("the adapter's pattern " + in_quotes(expression) +
                  " is no regular expression, or takes too long to search for");
}

}  // namespace

LoraConfig::LoraConfig(const json& config, std::vector<std::string>& problems) {
  const json type = config.value("peft_type", json());
  if (type != "LORA") problems.push_back("peft_type is " + shown(type) + ", expected 'LORA'");
  if (const json bias = config.value("bias", json("none")); bias != "none") {
    problems.push_back("bias is " + shown(bias) + ", expected 'none'");
  }
  for (const char* key : {"modules_to_save", "use_dora", "lora_bias", "use_qalora", "use_bdlora", "layer_replication",
                          "trainable_token_indices", "target_parameters", "alora_invocation_tokens", "arrow_config",
                          "kasa_config", "monteclora_config", "velora_config"}) {
    const json value = config.value(key, json());
    if (!is_off(value)) problems.push_back(std::string(key) + " is " + shown(value));
  }
  const json initialization = config.value("init_lora_weights", json());
  if (!keeps_base(initialization)) {
    problems.push_back("init_lora_weights is " + shown(initialization) + ", which changes the base model");
  }
  // fan_in_fan_out says how the base model stores its weights; here every layer is [out, in], as B A is.
  rank_ = read_number(config, "r", 1, kLargestRank, problems);
  alpha_ = read_number(config, "lora_alpha", -1e9, 1e9, problems);
  stabilized_ = config.value("use_rslora", json()) == json(true);
  ranks_ = read_patterns(config, "rank_pattern", problems);
  alphas_ = read_patterns(config, "alpha_pattern", problems);
}

std::vector<LoraConfig::Pattern> LoraConfig::read_patterns(const json& config, const char* key,
                                                           std::vector<std::string>& problems) {
  std::vector<Pattern> patterns;
  const json object = config.value(key, json());
  if (is_off(object)) return patterns;
  if (!object.is_object()) {
    problems.push_back(std::string(key) + " is " + shown(object) + ", expected names and numbers");
    return patterns;
  }
  for (const auto& [expression, value] : object.items()) {
    if (value.is_number() && std::abs(value.get<double>()) <= kLargestRank) {
      patterns.push_back({expression, value.get<double>()});
    } else {
      problems.push_back(std::string(key) + " has " + shown(value) + " for " + in_quotes(expression));
    }
  }
  return patterns;
}

// The first pattern that matches counts, in the order of the alphabet, in which PEFT saves them.
std::int64_t LoraConfig::rank(const std::string& module) const {
  for (const auto& [expression, value] : ranks_) {
    if (matches(expression, module)) return static_cast<std::int64_t>(value);
  }
  return static_cast<std::int64_t>(rank_);
}

double LoraConfig::scale(const std::string& module) const {
  double alpha = alpha_;
  for (const auto& [expression, value] : alphas_) {
    if (!matches(expression, module)) continue;
    alpha = value;
    break;
  }
  const auto rank = static_cast<double>(this->rank(module));
  return alpha / (stabilized_ ? std::sqrt(rank) : rank);
}

}  // namespace blip2
