#include <nlohmann/json.hpp>
#include <sstream>

#include "blip2/core/atomic_file.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "blip2/text/byte_bpe.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxFileBytes = 100'000'000;

}  // namespace

ByteBpeVocabulary read_byte_bpe(const std::filesystem::path& folder) {
  ByteBpeVocabulary vocabulary;
  const auto vocab_file = folder / "vocab.json";
  const nlohmann::json ids = load_json(vocab_file);
  if (!ids.is_object()) throw UserError("'" + vocab_file.string() + "' must hold a JSON object of tokens and ids");
  for (const auto& [token, id] : ids.items()) {
    if (!id.is_number_integer()) {
      throw UserError("'" + vocab_file.string() + "': the id of token '" + token + "' must be an integer, found " +
                      id.dump());
    }
    vocabulary.ids[token] = id.get<std::int64_t>();
  }
  const auto merges_file = folder / "merges.txt";
  const auto bytes = read_file(merges_file, kMaxFileBytes);
  std::istringstream stream(std::string(bytes.begin(), bytes.end()));
  std::size_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || (number == 1 && line.rfind("#version", 0) == 0)) continue;
    const auto space = line.find(' ');
    if (space == std::string::npos || space == 0 || space + 1 == line.size() ||
        line.find(' ', space + 1) != std::string::npos) {
      throw UserError("'" + merges_file.string() + "': line " + std::to_string(number) +
                      " must hold two tokens with a space between, found '" + line + "'");
    }
    vocabulary.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return vocabulary;
}

void write_byte_bpe(const ByteBpeVocabulary& vocabulary, const ByteBpeOptions& options,
                    const std::filesystem::path& folder) {
  nlohmann::ordered_json ids = nlohmann::ordered_json::object();
  std::vector<std::string> tokens(vocabulary.ids.size());
  for (const auto& [token, id] : vocabulary.ids) tokens.at(static_cast<std::size_t>(id)) = token;
  for (std::size_t i = 0; i < tokens.size(); ++i) ids[tokens[i]] = i;
  write_file_atomically(folder / "vocab.json", ids.dump());
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : vocabulary.merges) merges += left + " " + right + "\n";
  write_file_atomically(folder / "merges.txt", merges);
  nlohmann::ordered_json config = {{"tokenizer_class", "GPT2Tokenizer"},
                                   {"add_bos_token", !options.beginning.empty()},
                                   {"bos_token", options.beginning.empty() ? "</s>" : options.beginning},
                                   {"eos_token", "</s>"},
                                   {"unk_token", "</s>"},
                                   {"pad_token", options.padding}};
  for (const auto& [content, id] : options.special_tokens) {
    config["added_tokens_decoder"][std::to_string(id)] = {
        {"content", content}, {"special", true}, {"normalized", false}};
  }
  write_file_atomically(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

}  // namespace blip2
