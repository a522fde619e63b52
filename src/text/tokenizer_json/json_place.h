// A value of a tokenizer.json together with where it stands, so that every refusal is one sentence that names the file,
// the place, what was expected and what was found: 'x/tokenizer.json': 'decoder.decoders[1].type' must be ...
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace blip2 {

class JsonPlace {
 public:
  /** The root of a file, to which it points: where that is gone only `complain` may be called. */
  JsonPlace(std::string file, const nlohmann::json& root) : file_(std::move(file)), value_(&root) {}

  const std::string& file() const { return file_; }
  /** "normalizer.normalizers[1]"; empty for the root. */
  const std::string& path() const { return path_; }
  const nlohmann::json& value() const { return *value_; }

  /** Whether the object has the key, and not as null. */
  bool has(const char* key) const { return child(key) != nullptr; }
  /** The value of the object's key. Throws UserError where it is missing or null. */
  JsonPlace at(const char* key, const std::string& expected) const;
  /** The elements of the object's list. Throws UserError where it is none. */
  std::vector<JsonPlace> items(const char* key) const;
  JsonPlace item(std::size_t index) const;

  /** Values of the object's keys; one without `otherwise` must be there. Each throws UserError for another type. */
  std::string text(const char* key) const;
  std::string text(const char* key, const std::string& otherwise) const;
  bool flag(const char* key, bool otherwise) const;
  std::int64_t number(const char* key, std::int64_t lowest, std::int64_t highest) const;
  std::int64_t number(const char* key, std::int64_t lowest, std::int64_t highest, std::int64_t otherwise) const;

  /** "'FILE': 'PATH' must be EXPECTED, found ...". */
  [[noreturn]] void refuse(const std::string& expected) const;
  /** "'FILE': 'PATH' WHAT". */
  [[noreturn]] void complain(const std::string& what) const;

 private:
  JsonPlace(const JsonPlace& parent, const std::string& step, const nlohmann::json* value);
  const nlohmann::json* child(const char* key) const;

  std::string file_, path_;
  const nlohmann::json* value_;
};

/** Names in a sentence: "A, B or C". */
std::string one_of(const std::vector<std::string>& names);

/** Throws UserError naming `source` when the bytes are no JSON, or nested more than 100 levels deep. */
nlohmann::json parse_json(const std::string& bytes, const std::string& source);

}  // namespace blip2
