#include "blip2/core/error.h"

#include <c10/util/Exception.h>

#include <csignal>
#include <iostream>
#include <new>

namespace blip2 {

int run_program(const std::string& name, const std::function<int()>& body) {
  auto report = [&](const std::string& sentence, int code) {
    std::cerr << name << ": " << sentence << std::endl;
    return code;
  };
  // Else `ulimit -f` would kill the program where writing could fail with a sentence.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    const int code = body();
    if (!std::cout.flush()) return report("cannot write to standard output: the disk is full or the file is closed", 1);
    return code;
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
