// Any bytes as a safetensors file: they are read, or refused with a UserError, and nothing else happens.
//   build-fuzz/bin/fuzz_safetensors NEW_CORPUS tests/data/checkpoint/safetensors_bad
#include "blip2/checkpoint/safetensors.h"
#include "blip2/core/error.h"
#include "memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    blip2::load_safetensors(blip2::memory_file(data, size));
  } catch (const blip2::UserError&) {
  }
  return 0;
}
