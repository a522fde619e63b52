// The opcodes that torch.save writes and no others. Every pop, mark and memo entry is checked, and all that grows is
// bounded: a hundred bytes of pickle can otherwise stand for a billion values.
#include "checkpoint/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

using Kind = PickleValue::Kind;

constexpr std::size_t kMostValues = 2'000'000;
constexpr std::uint32_t kDeepest = 64;
// Bytes of memory that the tree may take when shared values are written out where they are used.
constexpr std::uint64_t kHeaviest = 100'000'000, kValueWeight = 100;
constexpr std::uint64_t kBufferBytes = 1 << 16;
constexpr std::size_t kLongestLine = 256;

bool is_utf8(const std::string& text) {
  if (std::all_of(text.begin(), text.end(), [](char letter) { return static_cast<unsigned char>(letter) < 0x80; })) {
    return true;
  }
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

class Machine {
 public:
  Machine(PickleInput& input, PickleMeanings& meanings) : input_(input), meanings_(meanings) {}

  Pickle run() {
    if (input_.byte() != 0x80 || input_.byte() != 2)
      input_.refuse("a pickle must begin with protocol 2, as torch.save's");
    while (step(input_.byte())) {
    }
    const PickleId root = pop();
    if (!stack_.empty() || !marks_.empty()) input_.refuse("the pickle ends with more than one value");
    return {std::move(values_), root};
  }

 private:
  // False at the end of the pickle.
  bool step(std::uint8_t opcode) {
    switch (opcode) {
      case '.':
        return false;
      case '(':
        if (marks_.size() >= kMostValues) input_.refuse("the pickle sets too many marks");
        marks_.push_back(stack_.size());
        return true;
      case 'a':
        append({pop()});
        return true;
      case 'e':
        append(pop_to_mark());
        return true;
      case 's': {
        const PickleId value = pop(), key = pop();
        set_items({key, value});
        return true;
      }
      case 'u':
        set_items(pop_to_mark());
        return true;
      case 'q':
        memorise(unsigned_number(1));
        return true;
      case 'r':
        memorise(unsigned_number(4));
        return true;
      case 'h':
        push(remembered(unsigned_number(1)));
        return true;
      case 'j':
        push(remembered(unsigned_number(4)));
        return true;
      case 'b':
        build();
        return true;
      default:
        push(make(opcode));
        return true;
    }
  }

  // The value of an opcode that makes one.
  PickleValue make(std::uint8_t opcode) {
    switch (opcode) {
      case 'N':
        return {};
      case 0x88:
      case 0x89:
        return {.kind = Kind::kBool, .integer = opcode == 0x88 ? 1 : 0};
      case 'J':
        return integer(4);
      case 'K':
        return {.kind = Kind::kInteger, .integer = static_cast<std::int64_t>(unsigned_number(1))};
      case 'M':
        return {.kind = Kind::kInteger, .integer = static_cast<std::int64_t>(unsigned_number(2))};
      case 0x8a:
        return integer(unsigned_number(1));
      case 'G':
        return real();
      case 'X':
        return text(unsigned_number(4));
      case 'U':
        return text(unsigned_number(1));
      case '}':
        return {.kind = Kind::kDict};
      case ']':
        return {.kind = Kind::kList};
      case ')':
        return {.kind = Kind::kTuple};
      case 't':
        return {.kind = Kind::kTuple, .items = pop_to_mark()};
      case 0x85:
      case 0x86:
      case 0x87:
        return tuple(opcode - 0x84U);
      case 'c': {
        const std::string module = input_.line();
        return meanings_.global(module, input_.line());
      }
      case 'R': {
        const PickleId arguments = pop(), callable = pop();
        return meanings_.call(values_[callable], values_[arguments], values_);
      }
      case 'Q':
        return meanings_.persistent(values_[pop()], values_);
      default:
        refuse_opcode(opcode);
    }
  }

  [[noreturn]] void refuse_opcode(std::uint8_t opcode) const {
    std::array<char, 8> code{};
    std::snprintf(code.data(), code.size(), "0x%02x", opcode);
    input_.refuse("the pickle holds the opcode " + std::string(code.data()) + " at byte " +
                  std::to_string(input_.position() - 1) + ", which torch.save never writes");
  }

  void push(PickleId id) {
    if (stack_.size() >= kMostValues) input_.refuse("the pickle stacks too many values");
    stack_.push_back(id);
  }
  void push(PickleValue value) {
    if (values_.size() >= kMostValues) {
      input_.refuse("the pickle makes more than " + std::to_string(kMostValues) + " values");
    }
    values_.push_back(std::move(value));
    push(static_cast<PickleId>(values_.size() - 1));
  }

  PickleId top() const {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back()))
      input_.refuse("the pickle takes a value that is not there");
    return stack_.back();
  }
  PickleId pop() {
    const PickleId id = top();
    stack_.pop_back();
    return id;
  }
  std::vector<PickleId> pop_to_mark() {
    if (marks_.empty()) input_.refuse("the pickle goes back to a mark that was never set");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleId> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  PickleValue tuple(std::size_t count) {
    std::vector<PickleId> items(count);
    for (std::size_t i = count; i > 0; --i) items[i - 1] = pop();
    return {.kind = Kind::kTuple, .items = std::move(items)};
  }

  // Little-endian, at most 8 bytes.
  std::uint64_t unsigned_number(std::uint64_t count) {
    std::uint64_t number = 0;
    for (std::uint64_t i = 0; i < count; ++i) number |= std::uint64_t{input_.byte()} << (8 * i);
    return number;
  }
  PickleValue integer(std::uint64_t count) {
    if (count > 8) input_.refuse("the pickle holds an integer of " + std::to_string(count) + " bytes, the limit is 8");
    std::uint64_t number = unsigned_number(count);
    // The sign is the highest bit that was read.
    const std::uint64_t shift = count == 0 ? 0 : 64 - 8 * count;
    const auto extended = static_cast<std::int64_t>(number << shift) >> shift;
    return {.kind = Kind::kInteger, .integer = extended};
  }
  PickleValue real() {
    std::uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits = bits << 8 | input_.byte();  // big-endian, alone among the numbers
    return {.kind = Kind::kReal, .real = std::bit_cast<double>(bits)};
  }
  PickleValue text(std::uint64_t length) {
    PickleValue value{.kind = Kind::kText, .text = input_.bytes(length)};
    if (!is_utf8(value.text)) input_.refuse("the pickle holds a text that is not UTF-8");
    return value;
  }

  void append(const std::vector<PickleId>& items) {
    PickleValue& list = values_[top()];
    if (list.kind != Kind::kList) refuse_use("appends to ", list);
    list.items.insert(list.items.end(), items.begin(), items.end());
  }
  void set_items(const std::vector<PickleId>& items) {
    PickleValue& dict = values_[top()];
    if (dict.kind != Kind::kDict) refuse_use("sets an item of ", dict);
    if (items.size() % 2 != 0) input_.refuse("the pickle sets a key without a value");
    for (std::size_t i = 0; i < items.size(); i += 2) {
      const Kind key = values_[items[i]].kind;
      if (key != Kind::kText && key != Kind::kInteger) {
        input_.refuse("the keys of a dict must be texts or integers, found " + std::string(described(key)));
      }
    }
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }
  // Attributes of a dict, such as the versions that a module's state_dict() carries: nothing here needs them.
  void build() {
    const PickleId attributes = pop();
    if (values_[top()].kind != Kind::kDict) refuse_use("sets attributes of ", values_[top()]);
    if (values_[attributes].kind != Kind::kDict) refuse_use("sets attributes from ", values_[attributes]);
  }
  [[noreturn]] void refuse_use(const char* verb, const PickleValue& value) const {
    input_.refuse("the pickle " + std::string(verb) + described(value.kind));
  }

  void memorise(std::uint64_t place) {
    memo_[place] = top();
    if (memo_.size() > kMostValues) input_.refuse("the pickle remembers too many values");
  }
  PickleId remembered(std::uint64_t place) const {
    const auto found = memo_.find(place);
    if (found == memo_.end())
      input_.refuse("the pickle uses the value " + std::to_string(place) + " before it is made");
    return found->second;
  }

  PickleInput& input_;
  PickleMeanings& meanings_;
  PickleValues values_;
  std::vector<PickleId> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, PickleId> memo_;
};

// Depth first without recursion, as the depth is what has to be found out.
void check_tree(const Pickle& pickle, const PickleInput& input) {
  struct Measure {
    std::uint64_t weight = 0;  // 0: not yet known
    std::uint32_t height = 0;
    bool open = false;
  };
  std::vector<Measure> measures(pickle.values.size());
  std::vector<std::pair<PickleId, std::size_t>> path{{pickle.root, 0}};
  measures[pickle.root].open = true;
  while (!path.empty()) {
    auto& [id, next] = path.back();
    const PickleValue& value = pickle.values[id];
    if (next < value.items.size()) {
      const PickleId child = value.items[next++];
      if (measures[child].open) input.refuse("the pickle holds a value that contains itself");
      if (measures[child].weight > 0) continue;
      if (path.size() >= kDeepest)
        input.refuse("the pickle is nested more than " + std::to_string(kDeepest) + " levels deep");
      measures[child].open = true;
      path.emplace_back(child, 0);
      continue;
    }
    Measure& own = measures[id];
    own.weight = kValueWeight + value.text.size();
    own.height = 1;
    for (const PickleId child : value.items) {
      own.weight = std::min(own.weight + measures[child].weight, kHeaviest + 1);
      own.height = std::max(own.height, measures[child].height + 1);
    }
    // A shared value may stand deeper than where it was first met.
    if (own.height > kDeepest)
      input.refuse("the pickle is nested more than " + std::to_string(kDeepest) + " levels deep");
    own.open = false;
    path.pop_back();
  }
  if (measures[pickle.root].weight > kHeaviest) {
    input.refuse("the pickle stands for more than 100 MB of values");
  }
}

}  // namespace

const char* described(Kind kind) {
  static constexpr std::array kNames{"None",   "true or false", "an integer", "a number", "a text",    "a name",
                                     "a list", "a tuple",       "a dict",     "a type",   "a storage", "a tensor"};
  return kNames[static_cast<std::size_t>(kind)];
}

PickleInput::PickleInput(const ReadOnlyFile& file, std::uint64_t begin, std::uint64_t end)
    : file_(file), position_(begin), end_(end), buffer_begin_(begin) {}

std::uint8_t PickleInput::byte() {
  if (position_ >= end_) refuse("the pickle ends too early");
  if (position_ >= buffer_begin_ + buffer_.size()) {
    buffer_.resize(std::min(kBufferBytes, end_ - position_));
    file_.read(position_, buffer_.data(), buffer_.size());
    buffer_begin_ = position_;
  }
  return static_cast<std::uint8_t>(buffer_[position_++ - buffer_begin_]);
}

std::string PickleInput::bytes(std::uint64_t count) {
  if (count > end_ - position_) refuse("the pickle ends too early");
  std::string text(count, '\0');
  for (char& letter : text) letter = static_cast<char>(byte());
  return text;
}

std::string PickleInput::line() {
  std::string text;
  for (char letter = 0; (letter = static_cast<char>(byte())) != '\n';) {
    if (text.size() == kLongestLine) refuse("the pickle holds a name of more than 256 bytes");
    text += letter;
  }
  return text;
}

void PickleInput::refuse(const std::string& rule) const {
  throw UserError("'" + file_.name() + "': not a valid PyTorch file: " + rule);
}

Pickle read_pickle(PickleInput& input, PickleMeanings& meanings) {
  Pickle pickle = Machine(input, meanings).run();
  check_tree(pickle, input);
  return pickle;
}

}  // namespace blip2
