// vocab.json, merges.txt and tokenizer_config.json of a byte-level BPE, in and out.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "blip2/core/atomic_file.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "blip2/text/byte_bpe.h"
#include "core/in_quotes.h"
#include "text/token_ids.h"
#include "text/tokenizer_files.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxFileBytes = 100'000'000;

void read_vocabulary(const std::filesystem::path& file, ByteBpeVocabulary& vocabulary) {
  read_file(file, kMaxFileBytes);  // refuses a file too large to parse
  vocabulary.ids = read_token_ids(load_json(file), "'" + file.string() + "'");
}

void read_merges(const std::filesystem::path& file, ByteBpeVocabulary& vocabulary) {
  const auto bytes = read_file(file, kMaxFileBytes);
  std::istringstream stream(std::string(bytes.begin(), bytes.end()));
  std::size_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const auto space = line.find(' ');
    if (space == std::string::npos || space == 0 || space + 1 == line.size() ||
        line.find(' ', space + 1) != std::string::npos) {
      throw UserError("'" + file.string() + "': line " + std::to_string(number) +
                      " must hold two tokens with a space between, found " + in_quotes(line));
    }
    const std::pair tokens(line.substr(0, space), line.substr(space + 1));
    for (const auto& token : {tokens.first, tokens.second, tokens.first + tokens.second}) {
      if (vocabulary.ids.count(token) == 0) {
        throw UserError("'" + file.string() + "': line " + std::to_string(number) + " needs the token " +
                        in_quotes(token) + ", which vocab.json lacks");
      }
    }
    vocabulary.merges.push_back(tokens);
  }
}

std::string make_config(const ByteBpeOptions& options) {
  nlohmann::ordered_json config = {{"tokenizer_class", "GPT2Tokenizer"},
                                   {"add_bos_token", !options.beginning.empty()},
                                   {"add_prefix_space", options.add_prefix_space},
                                   {"errors", "replace"}};
  auto name = [&](const char* key, const std::string& token) {
    config[key] = token.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(token);
  };
  for (const char* key : {"bos_token", "eos_token", "unk_token"}) name(key, options.beginning);
  name("pad_token", options.padding);
  if (!options.added_tokens.empty()) config["added_tokens_decoder"] = added_tokens_decoder(options.added_tokens);
  return config.dump(2) + "\n";
}

}  // namespace

ByteBpeVocabulary read_byte_bpe(const std::filesystem::path& folder) {
  ByteBpeVocabulary vocabulary;
  read_vocabulary(folder / "vocab.json", vocabulary);
  read_merges(folder / "merges.txt", vocabulary);
  return vocabulary;
}

void write_byte_bpe(const ByteBpeVocabulary& vocabulary, const std::filesystem::path& folder,
                    const ByteBpeOptions& options) {
  std::vector<std::pair<std::int64_t, std::string>> tokens;
  for (const auto& [token, id] : vocabulary.ids) tokens.emplace_back(id, token);
  std::sort(tokens.begin(), tokens.end());
  // Written by hand, as an ordered JSON object searches all its keys for every new one.
  std::string ids;
  for (const auto& [id, token] : tokens) {
    ids += (ids.empty() ? "{" : ", ") + nlohmann::json(token).dump() + ": " + std::to_string(id);
  }
  write_file_atomically(folder / "vocab.json", ids + "}");
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : vocabulary.merges) merges += left + " " + right + "\n";
  write_file_atomically(folder / "merges.txt", merges);
  auto companions = options.companions;
  companions.try_emplace("tokenizer_config.json", make_config(options));
  for (const auto& [name, bytes] : companions) write_file_atomically(folder / name, bytes);
}

}  // namespace blip2
