// adapter_config.json of PEFT, as far as it decides what merging has to do.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace blip2 {

class LoraConfig {
 public:
  /** Appends to `problems` what makes the adapter another thing than a plain LoRA. */
  LoraConfig(const nlohmann::json& config, std::vector<std::string>& problems);

  /** The rank of the adapter of a module of that name: `r`, or what `rank_pattern` says. */
  std::int64_t rank(const std::string& module) const;

  /** What its B A is multiplied with. */
  double scale(const std::string& module) const;

 private:
  /** A regular expression for the end of a module's name, from a dot on, and what holds for it. */
  struct Pattern {
    std::string expression;
    double value;
  };
  static std::vector<Pattern> read_patterns(const nlohmann::json& config, const char* key,
                                            std::vector<std::string>& problems);

  double rank_ = 8, alpha_ = 8;
  bool stabilized_ = false;
  std::vector<Pattern> ranks_, alphas_;
};

}  // namespace blip2
