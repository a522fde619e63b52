// How the matrices of image encoder and language model, nearly all of a model's bytes, are kept in memory. The
// computation is float32 in every case, and the Q-Former, norms and biases are float32 too.
#pragma once

#include <string>

namespace blip2 {

enum class WeightFormat {
  kFloat32,   // for weights that learn
  kAsStored,  // bfloat16 and float16 stay what they are in the file: the same results as float32 in half the memory
  kInt8,      // rounded, one scale per output; the head of the language model and embeddings as stored. CPU only
  kInt8Fast,  // as kInt8, and what the image encoder multiplies is rounded to 8 bits instead of 15
  kInt4       // the language model in 4 bits, one scale per 64 inputs; the image encoder as kInt8. CPU only
};

/** What a user's --quantize asks for: "none" (as stored), "int8", "int8-fast" or "int4". Throws UserError for another
 * name. */
WeightFormat inference_format(const std::string& quantize);

}  // namespace blip2
