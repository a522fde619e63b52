// One description of every options struct: a free function `visit_fields(FieldVisitor&, Options&)` that names each
// field once. Reading a JSON config, writing it back, comparing and printing all walk that one list, so they cannot
// drift apart. This header knows no JSON; core/config.h does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace blip2 {

class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  /** Visits one value. A reader overwrites it when the file has the key and leaves it alone when not. */
  virtual void field(const char* name, std::int64_t& value) = 0;
  virtual void field(const char* name, double& value) = 0;
  virtual void field(const char* name, bool& value) = 0;
  virtual void field(const char* name, std::string& value) = 0;
  virtual void field(const char* name, std::vector<std::int64_t>& value) = 0;
  virtual void field(const char* name, std::vector<double>& value) = 0;
  virtual void field(const char* name, std::vector<std::string>& value) = 0;
  /** `null` in JSON is an empty optional. */
  virtual void field(const char* name, std::optional<std::int64_t>& value) = 0;

  /** Visits a nested options struct through its own `visit_fields`. */
  template <typename Options>
  void nested(const char* name, Options& options) {
    if (!enter(name)) return;
    visit_fields(*this, options);
    leave();
  }

 protected:
  /** False when there is nothing to visit below `name` (a reader whose file lacks the key). */
  virtual bool enter(const char* name) = 0;
  virtual void leave() = 0;
};

}  // namespace blip2
