// A pickle as torch.save writes it (protocol 2), read by a machine that runs nothing: a name in the file becomes a
// value that `PickleMeanings` knows, or an error. Values lie in one list and refer to each other by number, as the file
// may share them; a value that holds itself, is nested too deeply or would be too large written out is refused, so
// that whoever walks the result may recurse.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/read_only_file.h"

namespace blip2 {

/** The largest pickle that is read, in bytes; the tensors of a model need a few hundred each. */
inline constexpr std::uint64_t kLargestPickle = 100'000'000;

/** The place of a value in the list of all. */
using PickleId = std::uint32_t;

struct PickleValue {
  enum class Kind : std::uint8_t {
    kNone,
    kBool,
    kInteger,
    kReal,
    kText,
    kName,
    kList,
    kTuple,
    kDict,
    kGlobal,
    kStorage,
    kTensor
  };
  Kind kind = Kind::kNone;
  std::int64_t integer = 0;       // kBool, kInteger; kGlobal, kStorage, kTensor: a number that the meanings gave
  double real = 0.0;              // kReal
  std::string text{};             // kText; kName: such as "torch.float32"
  std::vector<PickleId> items{};  // kList, kTuple; kDict: key, value, key, value...
};

using PickleValues = std::vector<PickleValue>;

/** "a list", "a text" and so on, for sentences. */
const char* described(PickleValue::Kind kind);

/** The part of a file that a pickle is read from, through a small buffer. */
class PickleInput {
 public:
  PickleInput(const ReadOnlyFile& file, std::uint64_t begin, std::uint64_t end);

  /** Where the next byte lies in the file. */
  std::uint64_t position() const { return position_; }

  /** Each throws UserError where the part ends too early. */
  std::uint8_t byte();
  std::string bytes(std::uint64_t count);
  /** Up to a line feed, which is not part of it; at most 256 bytes. */
  std::string line();

  /** Throws UserError "'FILE': not a valid PyTorch file: RULE". */
  [[noreturn]] void refuse(const std::string& rule) const;

 private:
  const ReadOnlyFile& file_;
  std::uint64_t position_, end_;
  std::string buffer_;
  std::uint64_t buffer_begin_ = 0;
};

/** What a pickle's names and calls mean; each throws UserError for what it does not know. */
class PickleMeanings {
 public:
  virtual ~PickleMeanings() = default;
  virtual PickleValue global(const std::string& module, const std::string& name) = 0;
  virtual PickleValue call(const PickleValue& callable, const PickleValue& arguments, const PickleValues& values) = 0;
  virtual PickleValue persistent(const PickleValue& id, const PickleValues& values) = 0;
};

struct Pickle {
  PickleValues values;
  PickleId root = 0;
};

/** Reads one pickle and leaves `input` behind its last byte. Throws UserError that names file, finding and rule. */
Pickle read_pickle(PickleInput& input, PickleMeanings& meanings);

}  // namespace blip2
