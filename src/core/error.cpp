#include "blip2/core/error.h"

#include <c10/util/Exception.h>

#include <csignal>
#include <iostream>
#include <new>

namespace blip2 {
namespace {

constexpr const char* kOutOfMemory = "out of memory: try a smaller batch or model";

/** LibTorch has no type of its own for memory that the system does not give. */
bool is_out_of_memory(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
         text.find("can't allocate memory") != std::string::npos;
}

}  // namespace

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
    return report(is_out_of_memory(error) ? kOutOfMemory : error.what_without_backtrace(), 1);
  } catch (const std::bad_alloc&) {
    return report(kOutOfMemory, 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}

}  // namespace blip2
