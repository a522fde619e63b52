#include "blip2/nn/autocast.h"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include "blip2/core/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace blip2 {
namespace {

namespace autocast = at::autocast;

at::ScalarType dtype_of(Precision precision) {
  return precision == Precision::kBFloat16 ? at::kBFloat16 : at::kHalf;
}

}  // namespace

Precision precision_from_name(const std::string& name) {
  if (name == "float32") return Precision::kFloat32;
  if (name == "bfloat16") return Precision::kBFloat16;
  if (name == "float16") return Precision::kFloat16;
  throw UserError("unknown precision '" + name + "', expected float32, bfloat16 or float16");
}

Autocast::Autocast(Precision precision, at::DeviceType device)
    : device_(device), changes_(precision != Precision::kFloat32) {
  if (!changes_) return;
  before_ = {autocast::is_autocast_enabled(device), autocast::is_autocast_cache_enabled(),
             autocast::get_autocast_dtype(device)};
  autocast::set_autocast_enabled(device, true);
  autocast::set_autocast_cache_enabled(false);
  autocast::set_autocast_dtype(device, dtype_of(precision));
}

Autocast::~Autocast() {
  if (!changes_) return;
  autocast::set_autocast_enabled(device_, before_.enabled);
  autocast::set_autocast_cache_enabled(before_.cached);
  autocast::set_autocast_dtype(device_, before_.dtype);
}

Precision Autocast::active(at::DeviceType device) {
  if (!autocast::is_autocast_enabled(device)) return Precision::kFloat32;
  return autocast::get_autocast_dtype(device) == at::kHalf ? Precision::kFloat16 : Precision::kBFloat16;
}

FullPrecision::FullPrecision() : guard_(c10::autocast_dispatch_keyset) {}

at::ScalarType product_dtype(const at::Tensor& x) {
  const at::DeviceType device = x.device().type();
  if (x.scalar_type() == at::kDouble || !autocast::is_autocast_enabled(device)) return x.scalar_type();
  return autocast::get_autocast_dtype(device);
}

at::Tensor at_least_float(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

void differentiate(const at::Tensor& loss) {
  const FullPrecision as_recorded;
  loss.backward();
}

bool cpu_multiplies(Precision precision) {
#if defined(__x86_64__)
  if (precision == Precision::kBFloat16) return __builtin_cpu_supports("avx512bf16") != 0;
  if (precision == Precision::kFloat16) {  // not every compiler knows it by name
    constexpr unsigned int kAvx512Fp16 = 1U << 23U;
    unsigned int a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAvx512Fp16) != 0;
  }
#endif
  return true;
}

}  // namespace blip2
