#include "blip2/core/config.h"

#include <algorithm>
#include <numeric>
#include <string_view>

#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "core/json_reading.h"

namespace blip2 {
namespace {

std::string join(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitution});
    }
  }
  return row.back();
}

template <typename Predicate>
bool all_of_array(const nlohmann::json& value, Predicate predicate) {
  return value.is_array() && std::all_of(value.begin(), value.end(), predicate);
}

bool is_utf8(const std::string& text) {
  const std::string quoted = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore);
  return nlohmann::json::parse(quoted).get_ref<const std::string&>() == text;
}

bool is_integer(const nlohmann::json& value) {
  return value.is_number_integer();
}
bool is_number(const nlohmann::json& value) {
  return value.is_number();
}
bool is_bool(const nlohmann::json& value) {
  return value.is_boolean();
}
bool is_string(const nlohmann::json& value) {
  return value.is_string();
}
bool is_integers(const nlohmann::json& value) {
  return all_of_array(value, is_integer);
}
bool is_numbers(const nlohmann::json& value) {
  return all_of_array(value, is_number);
}
bool is_strings(const nlohmann::json& value) {
  return all_of_array(value, is_string);
}

}  // namespace

std::string nearest_name(const std::string& name, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(3, name.size() / 2) + 1;
  for (const auto& candidate : known) {
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

nlohmann::json load_json(const std::filesystem::path& path) {
  std::ifstream stream = open_file(path);
  const auto bounded = [&](int depth, nlohmann::json::parse_event_t event, const nlohmann::json&) {
    if (is_too_deep(depth, event)) throw UserError("'" + path.string() + "' is " + kTooDeep);
    return true;
  };
  try {
    return nlohmann::json::parse(stream, bounded);
  } catch (const nlohmann::json::exception& error) {
    throw UserError("'" + path.string() + "' is not JSON: " + reason_of(error));
  }
}

void apply_override(nlohmann::json& config, const std::string& assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw UserError("override '" + assignment + "' is not of the form a.b.c=value");
  }
  const std::string path = assignment.substr(0, equals);
  const std::string text = assignment.substr(equals + 1);
  nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) value = text;
  if (!is_utf8(assignment)) throw UserError("override '" + path + "': key and value must be UTF-8");

  nlohmann::json* node = &config;
  std::size_t start = 0;
  while (true) {
    const auto dot = path.find('.', start);
    const std::string key = path.substr(start, dot - start);
    if (key.empty()) throw UserError("override '" + assignment + "' has an empty key");
    if (!node->is_object() && !node->is_null()) {
      throw UserError("override '" + assignment + "': '" + path.substr(0, start - 1) + "' is a value, not a section");
    }
    node = &(*node)[key];
    if (dot == std::string::npos) break;
    start = dot + 1;
  }
  *node = std::move(value);
}

namespace detail {

ConfigReader::ConfigReader(const nlohmann::json& root, std::string source, UnknownKeys unknown)
    : source_(std::move(source)), unknown_(unknown) {
  if (!root.is_object()) throw UserError("'" + source_ + "' must hold a JSON object, found " + root.type_name());
  levels_.push_back({&root, "", {}});
}

const nlohmann::json* ConfigReader::find(const char* name) {
  levels_.back().known.emplace_back(name);
  const auto found = levels_.back().object->find(name);
  return found == levels_.back().object->end() ? nullptr : &*found;
}

void ConfigReader::refuse_type(const char* name, const char* expected, const nlohmann::json& found) const {
  throw UserError("'" + source_ + "': '" + join(levels_.back().path, name) + "' must be " + expected + ", found " +
                  found.dump());
}

template <typename Value>
void ConfigReader::read(const char* name, Value& value, const char* expected, bool (*accepts)(const nlohmann::json&)) {
  const nlohmann::json* found = find(name);
  if (found == nullptr) return;
  if (!accepts(*found)) refuse_type(name, expected, *found);
  value = found->get<Value>();
}

void ConfigReader::field(const char* name, std::int64_t& value) {
  read(name, value, "an integer", is_integer);
}
void ConfigReader::field(const char* name, double& value) {
  read(name, value, "a number", is_number);
}
void ConfigReader::field(const char* name, bool& value) {
  read(name, value, "true or false", is_bool);
}
void ConfigReader::field(const char* name, std::string& value) {
  read(name, value, "a string", is_string);
}
void ConfigReader::field(const char* name, std::vector<std::int64_t>& value) {
  read(name, value, "a list of integers", is_integers);
}
void ConfigReader::field(const char* name, std::vector<double>& value) {
  read(name, value, "a list of numbers", is_numbers);
}
void ConfigReader::field(const char* name, std::vector<std::string>& value) {
  read(name, value, "a list of strings", is_strings);
}

void ConfigReader::field(const char* name, std::optional<std::int64_t>& value) {
  const nlohmann::json* found = find(name);
  if (found == nullptr) return;
  if (found->is_null()) {
    value.reset();
  } else if (is_integer(*found)) {
    value = found->get<std::int64_t>();
  } else {
    refuse_type(name, "an integer or null", *found);
  }
}

bool ConfigReader::enter(const char* name) {
  const nlohmann::json* found = find(name);
  if (found == nullptr) return false;
  if (!found->is_object()) refuse_type(name, "a section {...}", *found);
  levels_.push_back({found, join(levels_.back().path, name), {}});
  return true;
}

void ConfigReader::leave() {
  const Level level = std::move(levels_.back());
  levels_.pop_back();
  if (unknown_ == UnknownKeys::kIgnore) return;
  for (const auto& [key, value] : level.object->items()) {
    if (std::find(level.known.begin(), level.known.end(), key) != level.known.end()) continue;
    const std::string nearest = nearest_name(key, level.known);
    throw UserError("'" + source_ + "': unknown key '" + join(level.path, key) + "'" +
                    (nearest.empty() ? "" : ", did you mean '" + join(level.path, nearest) + "'?"));
  }
}

void ConfigWriter::field(const char* name, std::optional<std::int64_t>& value) {
  (*levels_.back())[name] = value ? nlohmann::json(*value) : nlohmann::json();
}

bool ConfigWriter::enter(const char* name) {
  levels_.push_back(&((*levels_.back())[name] = nlohmann::json::object()));
  return true;
}

}  // namespace detail
}  // namespace blip2
