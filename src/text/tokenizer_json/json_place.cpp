#include "text/tokenizer_json/json_place.h"

#include "blip2/core/error.h"
#include "core/in_quotes.h"
#include "core/json_reading.h"

namespace blip2 {
namespace {

using Json = nlohmann::json;

std::string description(const Json& value) {
  if (value.is_string()) return in_quotes(value.get_ref<const std::string&>());
  if (value.is_array()) return "a list";
  if (value.is_object()) return "an object";
  return value.dump();
}

}  // namespace

JsonPlace::JsonPlace(const JsonPlace& parent, const std::string& step, const Json* value)
    : file_(parent.file_), path_(parent.path_), value_(value) {
  if (!path_.empty() && step[0] != '[') path_ += '.';
  path_ += step;
}

void JsonPlace::complain(const std::string& what) const {
  throw UserError("'" + file_ + "': " + (path_.empty() ? "the file" : in_quotes(path_)) + " " + what);
}

void JsonPlace::refuse(const std::string& expected) const {
  complain("must be " + expected + ", found " + description(*value_));
}

const Json* JsonPlace::child(const char* key) const {
  if (!value_->is_object()) refuse("an object");
  const auto found = value_->find(key);
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

JsonPlace JsonPlace::at(const char* key, const std::string& expected) const {
  static const Json kNothing;
  const Json* found = child(key);
  if (found == nullptr) JsonPlace(*this, key, &kNothing).complain("is missing, expected " + expected);
  return JsonPlace(*this, key, found);
}

std::vector<JsonPlace> JsonPlace::items(const char* key) const {
  const JsonPlace list = at(key, "a list");
  if (!list.value().is_array()) list.refuse("a list");
  std::vector<JsonPlace> result;
  for (std::size_t i = 0; i < list.value().size(); ++i) result.push_back(list.item(i));
  return result;
}

JsonPlace JsonPlace::item(std::size_t index) const {
  return JsonPlace(*this, "[" + std::to_string(index) + "]", &(*value_)[index]);
}

std::string JsonPlace::text(const char* key) const {
  const JsonPlace place = at(key, "a string");
  if (!place.value().is_string()) place.refuse("a string");
  return place.value().get<std::string>();
}

std::string JsonPlace::text(const char* key, const std::string& otherwise) const {
  return has(key) ? text(key) : otherwise;
}

bool JsonPlace::flag(const char* key, bool otherwise) const {
  if (!has(key)) return otherwise;
  const JsonPlace place = at(key, "true or false");
  if (!place.value().is_boolean()) place.refuse("true or false");
  return place.value().get<bool>();
}

std::int64_t JsonPlace::number(const char* key, std::int64_t lowest, std::int64_t highest) const {
  const std::string expected = "an integer from " + std::to_string(lowest) + " to " + std::to_string(highest);
  const JsonPlace place = at(key, expected);
  const Json& value = place.value();
  const bool fits = value.is_number_unsigned() ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(highest)
                                               : value.is_number_integer();
  if (!fits || value.get<std::int64_t>() < lowest || value.get<std::int64_t>() > highest) place.refuse(expected);
  return value.get<std::int64_t>();
}

std::int64_t JsonPlace::number(const char* key, std::int64_t lowest, std::int64_t highest,
                               std::int64_t otherwise) const {
  return has(key) ? number(key, lowest, highest) : otherwise;
}

std::string one_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  }
  return text;
}

Json parse_json(const std::string& bytes, const std::string& source) {
  const auto bounded = [&](int depth, Json::parse_event_t event, const Json&) {
    if (is_too_deep(depth, event)) throw UserError("'" + source + "' is " + kTooDeep);
    return true;
  };
  try {
    return Json::parse(bytes, bounded);
  } catch (const Json::exception& error) {
    throw UserError("'" + source + "' is not JSON: " + reason_of(error));
  }
}

}  // namespace blip2
