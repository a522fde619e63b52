// The table of contents of a zip file whose records are stored as they are, as torch.save writes them: where each
// record's bytes lie, so that they can be read in place. The central directory at the end is what counts; a record is
// compared with its local header when it is looked up. Zip64 is understood, compression and encryption are refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "checkpoint/read_only_file.h"

namespace blip2 {

/** A run of bytes of a file. */
struct FileRange {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
};

class ZipDirectory {
 public:
  /** Reads the directory. Throws UserError "'FILE': not a valid PyTorch file: RULE". */
  explicit ZipDirectory(const ReadOnlyFile& file);

  /** The folder of the first record, where torch.save puts all of them. */
  const std::string& folder() const { return folder_; }

  /** Whether the folder holds that record. */
  bool contains(const std::string& name) const { return records_.count(folder_ + "/" + name) != 0; }

  /** Where the record FOLDER/name lies. Throws UserError when it is missing, compressed or not where it should be. */
  FileRange find(const std::string& name) const;

 private:
  struct Record {
    std::uint64_t header = 0;  // of the file
    std::uint64_t size = 0;
    bool stored = false;
  };
  struct Table {
    std::uint64_t begin = 0, size = 0, records = 0;
  };
  [[noreturn]] void refuse(const std::string& rule) const;
  Table find_table() const;
  void read_table(const Table& table);

  const ReadOnlyFile& file_;
  std::string folder_;
  std::unordered_map<std::string, Record> records_;
};

}  // namespace blip2
