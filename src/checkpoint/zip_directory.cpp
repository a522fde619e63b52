// Numbers as in PKWARE's APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16 (its end)
// and 4.5.3 (zip64).
#include "checkpoint/zip_directory.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "blip2/core/error.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kEndBytes = 22, kLongestComment = 65535, kLocatorBytes = 20, kEnd64Bytes = 56;
constexpr std::uint64_t kEntryBytes = 46, kLocalBytes = 30;
constexpr std::uint64_t kLargestTable = 100'000'000, kMostRecords = 1'000'000;
constexpr std::string_view kEndMark("PK\5\6", 4), kLocatorMark("PK\6\7", 4), kEnd64Mark("PK\6\6", 4);
constexpr std::string_view kEntryMark("PK\1\2", 4), kLocalMark("PK\3\4", 4);
constexpr std::uint64_t kMax16 = 0xffff, kMax32 = 0xffffffff;

// The little-endian number of `width` bytes at `place`, which lies within `bytes`.
std::uint64_t number(std::string_view bytes, std::uint64_t place, std::size_t width) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data() + place, width);
  return value;
}

// Replaces the fields of a directory entry that are too large for it, in the order of the format.
bool widen(std::string_view extra, std::uint64_t& size, std::uint64_t& packed_size, std::uint64_t& header) {
  while (extra.size() >= 4) {
    const std::uint64_t kind = number(extra, 0, 2), length = number(extra, 2, 2);
    extra.remove_prefix(4);
    if (length > extra.size()) return false;
    std::string_view field = extra.substr(0, length);
    extra.remove_prefix(length);
    if (kind != 1) continue;
    for (std::uint64_t* value : {&size, &packed_size, &header}) {
      if (*value != kMax32) continue;
      if (field.size() < 8) return false;
      *value = number(field, 0, 8);
      field.remove_prefix(8);
    }
    return true;
  }
  return size != kMax32 && packed_size != kMax32 && header != kMax32;
}

}  // namespace

ZipDirectory::ZipDirectory(const ReadOnlyFile& file) : file_(file) {
  read_table(find_table());
}

void ZipDirectory::refuse(const std::string& rule) const {
  throw UserError("'" + file_.name() + "': not a valid PyTorch file: " + rule);
}

ZipDirectory::Table ZipDirectory::find_table() const {
  std::string tail(std::min(file_.size(), kEndBytes + kLongestComment), '\0');
  file_.read(file_.size() - tail.size(), tail.data(), tail.size());
  std::size_t place = tail.size() < kEndBytes ? std::string::npos : tail.rfind(kEndMark, tail.size() - kEndBytes);
  // A comment may hold the mark; the true one is followed by a comment that ends with the file.
  while (place != std::string::npos && number(tail, place + 20, 2) != tail.size() - place - kEndBytes) {
    place = place == 0 ? std::string::npos : tail.rfind(kEndMark, place - 1);
  }
  if (place == std::string::npos) refuse("the zip file has no directory at its end, is the download complete?");
  const std::string_view end = std::string_view(tail).substr(place, kEndBytes);
  Table table{.begin = number(end, 16, 4), .size = number(end, 12, 4), .records = number(end, 10, 2)};
  std::uint64_t limit = file_.size() - tail.size() + place;
  if (place >= kLocatorBytes && std::string_view(tail).substr(place - kLocatorBytes, 4) == kLocatorMark) {
    limit = number(tail, place - kLocatorBytes + 8, 8);
    std::string end64(kEnd64Bytes, '\0');
    if (limit > file_.size() || file_.size() - limit < kEnd64Bytes) refuse("the zip64 directory lies outside the file");
    file_.read(limit, end64.data(), end64.size());
    const Table wide{.begin = number(end64, 48, 8), .size = number(end64, 40, 8), .records = number(end64, 32, 8)};
    const auto agrees = [](std::uint64_t narrow, std::uint64_t value, std::uint64_t full) {
      return narrow == full || narrow == value;
    };
    if (!std::string_view(end64).starts_with(kEnd64Mark) || !agrees(table.begin, wide.begin, kMax32) ||
        !agrees(table.size, wide.size, kMax32) || !agrees(table.records, wide.records, kMax16)) {
      refuse("the zip64 directory contradicts the older one");
    }
    table = wide;
  }
  if (table.begin > limit || table.size > limit - table.begin) refuse("the zip directory lies outside the file");
  if (table.size > kLargestTable || table.records > kMostRecords) refuse("the zip directory is too large");
  return table;
}

void ZipDirectory::read_table(const Table& table) {
  std::string bytes(table.size, '\0');
  file_.read(table.begin, bytes.data(), bytes.size());
  std::string_view rest = bytes;
  for (std::uint64_t i = 0; i < table.records; ++i) {
    if (rest.size() < kEntryBytes || !rest.starts_with(kEntryMark)) refuse("the zip directory is damaged");
    const std::uint64_t flags = number(rest, 8, 2), method = number(rest, 10, 2);
    std::uint64_t packed_size = number(rest, 20, 4), size = number(rest, 24, 4), header = number(rest, 42, 4);
    const std::uint64_t name_size = number(rest, 28, 2), extra_size = number(rest, 30, 2);
    const std::uint64_t entry_size = kEntryBytes + name_size + extra_size + number(rest, 32, 2);
    if (entry_size > rest.size()) refuse("the zip directory is damaged");
    std::string name(rest.substr(kEntryBytes, name_size));
    if (!widen(rest.substr(kEntryBytes + name_size, extra_size), size, packed_size, header)) {
      refuse("the zip directory is damaged at record " + in_quotes(name));
    }
    if (i == 0) folder_ = name.substr(0, name.find('/'));
    const Record record{
        .header = header, .size = size, .stored = method == 0 && (flags & 1) == 0 && size == packed_size};
    if (!records_.emplace(name, record).second) refuse("the zip file holds the record " + in_quotes(name) + " twice");
    rest.remove_prefix(entry_size);
  }
}

FileRange ZipDirectory::find(const std::string& name) const {
  const std::string full_name = folder_ + "/" + name;
  const auto found = records_.find(full_name);
  if (found == records_.end()) refuse("the zip file holds no record " + in_quotes(full_name));
  const Record& record = found->second;
  if (!record.stored)
    refuse("the record " + in_quotes(full_name) + " is compressed or encrypted, torch.save stores it plain");
  // The local header repeats the name; its extra field has a length of its own, with which torch.save aligns the data.
  std::string local(kLocalBytes + full_name.size(), '\0');
  const bool fits = record.header <= file_.size() && local.size() <= file_.size() - record.header;
  if (fits) file_.read(record.header, local.data(), local.size());
  if (!fits || !std::string_view(local).starts_with(kLocalMark) || number(local, 26, 2) != full_name.size() ||
      local.compare(kLocalBytes, std::string::npos, full_name) != 0) {
    refuse("the record " + in_quotes(full_name) + " is not where the zip directory says");
  }
  const FileRange range{.begin = record.header + local.size() + number(local, 28, 2), .size = record.size};
  if (range.begin > file_.size() || range.size > file_.size() - range.begin) {
    refuse("the record " + in_quotes(full_name) + " ends behind the end of the file");
  }
  return range;
}

}  // namespace blip2
