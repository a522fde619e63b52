#include "trace/tokenizer_case.h"

#include <map>

#include "blip2/core/atomic_file.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "blip2/text/load_tokenizer.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/** A line as the reference has it; the keys in its order. */
std::string line_of(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<std::int64_t> ids = tokenizer.encode(text);
  nlohmann::ordered_json line = {{"text", text}, {"ids", ids}, {"tokens", json::array()}};
  for (const std::int64_t id : ids) line["tokens"].push_back(tokenizer.token(id));
  line["decoded"] = tokenizer.decode(ids);
  line["decoded_raw"] = tokenizer.decode(ids, /*skip_special_tokens=*/false);
  line["decoded_clean"] = clean_up_spaces(tokenizer.decode(ids));
  return line.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace) + "\n";
}

std::string text_of(const std::string& line, const fs::path& file, std::int64_t number) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (object.is_object() && object.contains("text") && object["text"].is_string()) return object["text"];
  throw UserError("'" + file.string() + "': line " + std::to_string(number) + " is no JSON object with a \"text\"");
}

json run_file(const fs::path& file, const Tokenizer& tokenizer, const fs::path& output) {
  std::ifstream stream = open_file(file);
  std::string lines;
  std::int64_t count = 0;
  for (std::string line; std::getline(stream, line);) lines += line_of(tokenizer, text_of(line, file, ++count));
  write_file_atomically(output, lines);
  return count;
}

}  // namespace

json run_tokenizers(const fs::path& folder, const fs::path& output, std::vector<fs::path>& written) {
  const json models = load_json(folder / "models.json");
  json results = json::object();
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".jsonl") results[entry.path().filename().string()]["model"] = nullptr;
  }
  for (auto& [file, result] : results.items()) {
    const auto model = models.find(file);
    if (model == models.end() || !model->is_string()) continue;
    result["model"] = *model;
    const auto tokenizer = load_tokenizer(folder / ".." / model->get<std::string>());
    fs::create_directories(output);
    result["lines"] = run_file(folder / file, *tokenizer, output / file);
    written.push_back(output / file);
  }
  return {{"files", results}};
}

}  // namespace blip2
