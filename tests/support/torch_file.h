// Files as torch.save writes them, put together by hand: a zip file of stored records and the opcodes of its pickle. So
// a test can break one rule at a time, and no Python is needed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace blip2 {

/** The `width` lowest bytes of a number, the lowest first. */
inline std::string little_endian(std::uint64_t number, std::size_t width) {
  std::string bytes;
  for (std::size_t i = 0; i < width; ++i) bytes += static_cast<char>(number >> (8 * i) & 0xff);
  return bytes;
}

struct ZipRecord {
  std::string name, data;
  std::uint64_t method = 0, flags = 0;
  bool wide = false;         // sizes and place in a zip64 field
  std::string local_name{};  // in the local header where it is another
};

/** A zip file; `wide` gives its directory the zip64 end as well. The checksums are 0, as torch.save may leave them. */
inline std::string zip_bytes(const std::vector<ZipRecord>& records, bool wide = false) {
  std::string bytes, directory;
  for (const ZipRecord& record : records) {
    const std::string& local_name = record.local_name.empty() ? record.name : record.local_name;
    const std::string sizes = little_endian(record.data.size(), 4) + little_endian(record.data.size(), 4);
    const std::string facts = little_endian(record.flags, 2) + little_endian(record.method, 2) + std::string(8, '\0');
    std::string extra;
    if (record.wide) {
      extra = little_endian(1, 2) + little_endian(24, 2) + little_endian(record.data.size(), 8) +
              little_endian(record.data.size(), 8) + little_endian(bytes.size(), 8);
    }
    directory += "PK\1\2" + little_endian(20, 4) + facts + (record.wide ? std::string(8, '\xff') : sizes) +
                 little_endian(record.name.size(), 2) + little_endian(extra.size(), 2) + std::string(10, '\0') +
                 (record.wide ? std::string(4, '\xff') : little_endian(bytes.size(), 4)) + record.name + extra;
    bytes += "PK\3\4" + little_endian(20, 2) + facts + sizes + little_endian(local_name.size(), 2) +
             little_endian(3, 2) + local_name + "pad" + record.data;
  }
  const std::uint64_t begin = bytes.size(), count = records.size();
  bytes += directory;
  const std::uint64_t end = bytes.size();
  if (wide) {
    bytes += "PK\6\6" + little_endian(44, 8) + std::string(12, '\0') + little_endian(count, 8) +
             little_endian(count, 8) + little_endian(directory.size(), 8) + little_endian(begin, 8);
    bytes += "PK\6\7" + little_endian(0, 4) + little_endian(end, 8) + little_endian(1, 4);
  }
  return bytes + "PK\5\6" + little_endian(0, 4) + little_endian(count, 2) + little_endian(count, 2) +
         little_endian(directory.size(), 4) + little_endian(begin, 4) + little_endian(0, 2);
}

/** The opcodes that leave one value each. */
inline std::string pickled(const std::string& text) {
  return "X" + little_endian(text.size(), 4) + text;
}
inline std::string pickled(std::int64_t number) {
  return "\x8a\x08" + little_endian(static_cast<std::uint64_t>(number), 8);
}
inline std::string pickled_tuple(const std::vector<std::int64_t>& numbers) {
  std::string items = "(";
  for (const std::int64_t number : numbers) items += pickled(number);
  return items + "t";
}
inline std::string pickled_storage(const std::string& key, std::int64_t count,
                                   const std::string& type = "FloatStorage") {
  return "(" + pickled("storage") + "ctorch\n" + type + "\n" + pickled(key) + pickled("cpu") + pickled(count) + "tQ";
}
inline std::string pickled_tensor(const std::string& storage, std::int64_t offset,
                                  const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + pickled(offset) + pickled_tuple(shape) +
         pickled_tuple(strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}
/** {key: value, ...} */
inline std::string pickled_dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string items = "}(";
  for (const auto& [key, value] : entries) items += pickled(key) + value;
  return items + "u";
}

/** The records of a torch.save file whose pickle makes `value`; `storages` are keys and their bytes. */
inline std::vector<ZipRecord> torch_records(const std::string& value,
                                            const std::vector<std::pair<std::string, std::string>>& storages = {}) {
  std::vector<ZipRecord> records{{"archive/data.pkl", "\x80\x02" + value + "."}, {"archive/version", "3\n"}};
  for (const auto& [key, data] : storages) records.push_back({"archive/data/" + key, data});
  return records;
}

inline std::filesystem::path write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

}  // namespace blip2
