// The parts of a tokenizer.json are objects that name their type; each kind of part has a table of readers by type.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "text/tokenizer_json/json_place.h"

namespace blip2 {

/** Reads the part by its "type". Throws UserError that names the place and the type where the table lacks it. */
template <typename Part>
Part read_component(const JsonPlace& place, const std::map<std::string, Part (*)(const JsonPlace&)>& readers) {
  const auto found = readers.find(place.text("type"));
  if (found != readers.end()) return found->second(place);
  std::vector<std::string> known;
  for (const auto& [type, reader] : readers) known.push_back(type);
  place.at("type", "").refuse(one_of(known));
}

}  // namespace blip2
