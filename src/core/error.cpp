#include "blip2/core/error.h"

#include <c10/util/Exception.h>

#include <iostream>
#include <new>

namespace blip2 {

int run_program(const std::string& name, const std::function<int()>& body) {
  auto report = [&](const std::string& sentence, int code) {
    std::cerr << name << ": " << sentence << std::endl;
    return code;
  };
  try {
    return body();
  } catch (const Error& error) {
    return report(error.what(), error.exit_code());
  } catch (const c10::Error& error) {
    return report(error.what_without_backtrace(), 1);
  } catch (const std::bad_alloc&) {
    return report("out of memory: try a smaller batch or model", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}

}  // namespace blip2
