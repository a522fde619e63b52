// libFuzzer over tokenizer.json: whatever the bytes are, reading them and encoding a few texts with what they describe
// either works or throws one of our errors.
#include <cstddef>
#include <cstdint>
#include <string>

#include "blip2/core/error.h"
#include "blip2/text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto tokenizer =
        blip2::parse_tokenizer_json(std::string(reinterpret_cast<const char*>(data), size), "fuzzed.json");
    for (const char* text : {"", " a dog's  2 cats\r\n", "\u00e9e\u0301 \u4e2d\u6587 \U0001f415\xff</s>"}) {
      const auto ids = tokenizer->encode(text);
      for (const auto id : ids) {
        if (!tokenizer->has_token(id)) __builtin_trap();
      }
      tokenizer->decode(ids);
      tokenizer->decode(ids, false);
    }
  } catch (const blip2::Error&) {
  }
  return 0;
}
