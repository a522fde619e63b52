// Hugging Face's tokenizer.json (Hugging Face 6.1): one file that says how a text is normalised, cut into words, turned
// into tokens and back. Every part that BLIP-2's models and their kin have is read; a file with another is refused.
// Surprises: `truncation` is not read, as a batch says how long its rows may be, and an added token's id is that of the
// vocabulary where that has its content.
#pragma once

#include <map>
#include <memory>

#include "blip2/text/added_tokens.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

/** What the files beside a tokenizer.json say. */
struct TokenizerJsonOptions {
  /** Beside the file's own, which count where contents are equal. */
  std::vector<AddedToken> added_tokens;
  /** Tokens that are special where the vocabulary has them, e.g. "</s>" as "eos_token". */
  std::vector<std::string> special_tokens;
  /**
   * Empty: padding_id() is refused. Not given: the one of the file's `padding`, else "<pad>" or "[PAD]" where there is
   * one.
   */
  std::optional<std::string> padding;
  /**
   * Where the model is WordPiece and no file lists this token it gets the first free id: the Q-Former's "[DEC]", which
   * BERT lacks. Empty: none.
   */
  std::string wordpiece_token;
  /** File name and bytes that `save` writes beside tokenizer.json. */
  std::map<std::string, std::string> companions;
};

/**
 * Reads a tokenizer.json. Throws UserError, one sentence that names the file and the place in it, for what is missing,
 * unknown or damaged, and when ids have gaps or are there twice.
 *
 * Models: BPE, Unigram, WordPiece, WordLevel. Normalisers: Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip,
 * StripAccents, Replace, Prepend, Precompiled, BertNormalizer. Pre-tokenizers: Sequence, ByteLevel, Metaspace,
 * WhitespaceSplit, Whitespace, BertPreTokenizer, Split, Punctuation, Digits. Post-processors: Sequence,
 * TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel. Decoders: Sequence, ByteLevel, Metaspace,
 * WordPiece, BPEDecoder, Replace, Fuse, Strip, ByteFallback.
 */
std::unique_ptr<Tokenizer> load_tokenizer_json(const std::filesystem::path& file,
                                               const TokenizerJsonOptions& options = {});

/** The same from the file's bytes; errors call it `source`. */
std::unique_ptr<Tokenizer> parse_tokenizer_json(const std::string& bytes, const std::string& source,
                                                const TokenizerJsonOptions& options = {});

}  // namespace blip2
