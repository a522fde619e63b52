// The JSON travels as text inside the JSON header; it is as hostile as the header and is parsed with bounded depth.
#include "blip2/checkpoint/state_file.h"

#include <cmath>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

using Json = nlohmann::json;

constexpr const char* kKey = "state";
constexpr int kDeepest = 64;

void check_finite(const Json& value) {
  if (value.is_structured()) {
    for (const auto& inner : value) check_finite(inner);
  }
  TORCH_CHECK(!value.is_number_float() || std::isfinite(value.get<double>()),
              "save_state: JSON cannot hold a number that is not finite");
}

}  // namespace

void save_state(const std::filesystem::path& path, const NamedTensors& tensors, const Json& values) {
  TORCH_CHECK(values.is_object(), "save_state: the values must be a JSON object, found ", values.type_name());
  check_finite(values);
  std::string text;
  try {
    text = values.dump();
  } catch (const Json::type_error&) {
    throw UserError("cannot write '" + path.string() + "': a string of the state is not valid UTF-8");
  }
  save_safetensors(tensors, path, {{kKey, text}});
}

State load_state(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  const std::string not_a_state = "'" + path.string() + "' is not a state file: its metadata ";
  const auto text = file.metadata().find(kKey);
  if (text == file.metadata().end()) throw UserError(not_a_state + "holds no '" + kKey + "'");
  const auto bounded = [&](int depth, Json::parse_event_t, const Json&) {
    if (depth > kDeepest) throw UserError(not_a_state + "'" + kKey + "' is nested too deeply");
    return true;
  };
  State state;
  state.values = Json::parse(text->second, bounded, /*allow_exceptions=*/false);
  if (!state.values.is_object()) throw UserError(not_a_state + "'" + kKey + "' is not a JSON object");
  for (const auto& entry : file.tensors()) state.tensors.emplace(entry.name, file.read(entry.name));
  return state;
}

}  // namespace blip2
