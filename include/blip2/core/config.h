// JSON configs: `{"model": {"vision_config": {...}}, "train": {...}}` read into options structs through their
// `visit_fields`. A run config is strict: an unknown key is an error that names the nearest known key. Overrides come
// from the command line as `a.b.c=value`.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "blip2/core/field_visitor.h"

namespace blip2 {

/** What to do with a key that no field has. Our configs refuse; a Hugging Face config.json is full of extra keys. */
enum class UnknownKeys { kRefuse, kIgnore };

/**
 * Reads a JSON file. Throws UserError when it is missing, not JSON (with line and column) or nested more than 100
 * levels deep.
 */
nlohmann::json load_json(const std::filesystem::path& path);

/** Applies one `a.b.c=value`; the value is JSON where it parses as JSON and a string otherwise. Throws UserError. */
void apply_override(nlohmann::json& config, const std::string& assignment);

/** The known name with the smallest edit distance to `name`, or "" when none is near. */
std::string nearest_name(const std::string& name, const std::vector<std::string>& known);

namespace detail {

class ConfigReader final : public FieldVisitor {
 public:
  ConfigReader(const nlohmann::json& root, std::string source, UnknownKeys unknown);
  void field(const char* name, std::int64_t& value) override;
  void field(const char* name, double& value) override;
  void field(const char* name, bool& value) override;
  void field(const char* name, std::string& value) override;
  void field(const char* name, std::vector<std::int64_t>& value) override;
  void field(const char* name, std::vector<double>& value) override;
  void field(const char* name, std::vector<std::string>& value) override;
  void field(const char* name, std::optional<std::int64_t>& value) override;
  /** Refuses what was not visited at the level that ends here. */
  void leave() override;

 protected:
  bool enter(const char* name) override;

 private:
  struct Level {
    const nlohmann::json* object;
    std::string path;
    std::vector<std::string> known;
  };
  const nlohmann::json* find(const char* name);
  template <typename Value>
  void read(const char* name, Value& value, const char* expected, bool (*accepts)(const nlohmann::json&));
  [[noreturn]] void refuse_type(const char* name, const char* expected, const nlohmann::json& found) const;

  std::string source_;
  UnknownKeys unknown_;
  std::vector<Level> levels_;
};

class ConfigWriter final : public FieldVisitor {
 public:
  explicit ConfigWriter(nlohmann::json& root) : levels_{&root} { root = nlohmann::json::object(); }
  void field(const char* name, std::int64_t& value) override { write(name, value); }
  void field(const char* name, double& value) override { write(name, value); }
  void field(const char* name, bool& value) override { write(name, value); }
  void field(const char* name, std::string& value) override { write(name, value); }
  void field(const char* name, std::vector<std::int64_t>& value) override { write(name, value); }
  void field(const char* name, std::vector<double>& value) override { write(name, value); }
  void field(const char* name, std::vector<std::string>& value) override { write(name, value); }
  void field(const char* name, std::optional<std::int64_t>& value) override;
  void leave() override { levels_.pop_back(); }

 protected:
  bool enter(const char* name) override;

 private:
  template <typename Value>
  void write(const char* name, const Value& value) {
    (*levels_.back())[name] = value;
  }
  std::vector<nlohmann::json*> levels_;
};

}  // namespace detail

/** Reads `object` over `options`, which keep their defaults where the file is silent. `source` names the file in
 * errors. */
template <typename Options>
void read_config(const nlohmann::json& object, Options& options, const std::string& source,
                 UnknownKeys unknown = UnknownKeys::kRefuse) {
  detail::ConfigReader reader(object, source, unknown);
  visit_fields(reader, options);
  reader.leave();
}

/** Every field of `options` as JSON, defaults included. */
template <typename Options>
nlohmann::json write_config(Options options) {
  nlohmann::json root;
  detail::ConfigWriter writer(root);
  visit_fields(writer, options);
  return root;
}

/** A run config from a file with overrides applied. Throws UserError. */
template <typename Options>
Options load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides = {}) {
  nlohmann::json root = load_json(path);
  for (const auto& assignment : overrides) apply_override(root, assignment);
  Options options;
  read_config(root, options, path.string());
  return options;
}

}  // namespace blip2
