#include "blip2/text/load_tokenizer.h"

#include "blip2/core/error.h"
#include "blip2/text/byte_bpe.h"
#include "blip2/text/sentencepiece.h"
#include "blip2/text/tokenizer_json.h"
#include "blip2/text/wordpiece.h"
#include "core/in_quotes.h"
#include "text/tokenizer_files.h"

namespace blip2 {
namespace {

const std::string kDecoderToken = "[DEC]";

/** Tokens that the vocabulary lacks get the next ids, so the files' ids must say the same. */
std::unique_ptr<Tokenizer> load_wordpiece(const std::filesystem::path& folder, TokenizerFiles files) {
  WordPieceOptions options;
  options.lowercase = files.do_lower_case.value_or(options.lowercase);
  options.added_tokens.clear();
  const WordPieceTokenizer plain(folder / "vocab.txt", options);
  std::int64_t next = plain.vocabulary_size();
  bool decoder_listed = false;
  for (const auto& token : files.added_tokens) decoder_listed = decoder_listed || token.content == kDecoderToken;
  auto add = [&](const std::string& token) {
    if (!plain.find(token)) ++next;
    options.added_tokens.push_back(token);
  };
  for (const auto& token : files.added_tokens) {
    const bool is_new = !plain.find(token.content);
    if (is_new && token.id == next + 1 && !decoder_listed) {  // "<image>" behind a [DEC] that no file names
      add(kDecoderToken);
      decoder_listed = true;
    }
    if (is_new && token.id != next) {
      throw UserError("'" + folder.string() + "': the added token " + in_quotes(token.content) + " has the id " +
                      std::to_string(token.id) + ", expected " + std::to_string(next) +
                      ", the first one behind vocab.txt");
    }
    add(token.content);
  }
  if (!decoder_listed) add(kDecoderToken);
  options.companions = std::move(files.companions);
  return std::make_unique<WordPieceTokenizer>(folder / "vocab.txt", options);
}

std::unique_ptr<Tokenizer> load_byte_bpe(const std::filesystem::path& folder, TokenizerFiles files) {
  ByteBpeVocabulary vocabulary = read_byte_bpe(folder);
  auto known = [&](const std::string& token) {
    for (const auto& added : files.added_tokens) {
      if (added.content == token) return true;
    }
    return vocabulary.ids.count(token) != 0;
  };
  ByteBpeOptions options;
  const std::string beginning = files.name("bos_token", "</s>");
  // A folder that says nothing is OPT's when its first token is OPT's; GPT-2 itself begins a text with nothing.
  const bool begins = files.add_bos_token.value_or(beginning == "</s>" && known(beginning));
  options.beginning = begins ? beginning : "";
  options.padding = files.name("pad_token", known("<pad>") ? "<pad>" : "");
  options.add_prefix_space = files.add_prefix_space.value_or(false);
  options.added_tokens = std::move(files.added_tokens);
  for (const auto& [key, token] : files.names) {
    const auto found = vocabulary.ids.find(token);
    if (found != vocabulary.ids.end()) options.added_tokens.push_back({token, found->second});
  }
  options.companions = std::move(files.companions);
  return std::make_unique<ByteBpeTokenizer>(std::move(vocabulary), options, folder.string());
}

std::unique_ptr<Tokenizer> load_t5(const std::filesystem::path& folder, TokenizerFiles files) {
  T5TokenizerOptions options;
  options.extra_ids = files.extra_ids.value_or(options.extra_ids);
  options.trailing_space_is_token = files.trailing_space_is_token;
  options.added_tokens = std::move(files.added_tokens);
  options.companions = std::move(files.companions);
  return std::make_unique<T5Tokenizer>(folder / "spiece.model", options);
}

std::unique_ptr<Tokenizer> load_json(const std::filesystem::path& folder, TokenizerFiles files) {
  TokenizerJsonOptions options;
  options.added_tokens = std::move(files.added_tokens);
  for (const auto& [key, token] : files.names) options.special_tokens.push_back(token);
  if (files.names.count("pad_token") != 0) options.padding = files.names["pad_token"];
  options.wordpiece_token = kDecoderToken;
  options.companions = std::move(files.companions);
  const std::string bytes = options.companions["tokenizer.json"];
  return parse_tokenizer_json(bytes, (folder / "tokenizer.json").string(), options);
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  auto has = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::exists(folder / name, ignored);
  };
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    throw UserError("no tokenizer in '" + folder.string() + "': there is no such folder");
  }
  TokenizerFiles files = read_tokenizer_files(folder);
  if (files.has_model) return load_json(folder, std::move(files));
  if (has("vocab.txt")) return load_wordpiece(folder, std::move(files));
  if (has("vocab.json") && has("merges.txt")) return load_byte_bpe(folder, std::move(files));
  if (has("spiece.model")) return load_t5(folder, std::move(files));
  throw UserError("no tokenizer in '" + folder.string() +
                  "': looked for tokenizer.json with a model, vocab.txt (WordPiece), vocab.json with merges.txt (OPT) "
                  "and spiece.model (T5)");
}

}  // namespace blip2
