#include "blip2/core/size_check.h"

#include <cmath>
#include <sstream>

#include "blip2/core/error.h"

namespace blip2 {

void check_size(const std::string& section, const std::string& name, std::int64_t size, std::int64_t largest) {
  if (size >= 1 && size <= largest) return;
  throw UserError(section + ": " + name + " " + std::to_string(size) + " must lie between 1 and " +
                  std::to_string(largest));
}

void check_not_negative(const std::string& section, const std::string& name, double value) {
  if (value >= 0 && std::isfinite(value)) return;
  std::ostringstream text;
  text << section << ": " << name << " must be a finite number of at least 0, found " << value;
  throw UserError(text.str());
}

void check_token_id(const std::string& section, const std::string& name, std::int64_t id, std::int64_t vocabulary) {
  if (id >= -1 && id < vocabulary) return;
  throw UserError(section + ": " + name + " " + std::to_string(id) + " must lie in the vocabulary of " +
                  std::to_string(vocabulary));
}

}  // namespace blip2
