#include "text/tokenizer_json/metaspace.h"

#include "text/unicode.h"

namespace blip2 {

Metaspace read_metaspace(const JsonPlace& place) {
  Metaspace result;
  result.replacement = place.text("replacement");
  if (code_points(result.replacement).size() != 1) place.at("replacement", "").refuse("one character");
  const bool add_prefix_space = place.flag("add_prefix_space", true);
  const std::string scheme = place.text("prepend_scheme", add_prefix_space ? "always" : "never");
  result.prepend_always = scheme == "always";
  result.prepend_first = scheme == "first";
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    place.at("prepend_scheme", "").refuse("always, first or never");
  }
  result.split = place.flag("split", true);
  return result;
}

}  // namespace blip2
