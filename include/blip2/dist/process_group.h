// Ranks that train together. A program that runs alone has a group of one, never a null: its collectives are
// identities, so that no caller asks "am I distributed?". ThreadGroup makes several ranks inside one process (tests,
// and the proof that two ranks equal one); c10d back ends implement the same interface.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace blip2 {

class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  virtual std::int64_t rank() const = 0;
  virtual std::int64_t size() const = 0;

  /** Tensors [B, ...] of all ranks, equal shapes, joined along the first dimension in rank order. No gradient. */
  virtual at::Tensor all_gather(const at::Tensor& tensor) = 0;
  /** Sum over the ranks. No gradient. */
  virtual at::Tensor all_reduce_sum(const at::Tensor& tensor) = 0;
};

/** The group of one. */
std::shared_ptr<ProcessGroup> single_process_group();

/** Runs `body` in `size` threads, each with its own rank of one group; rethrows the first exception of a rank. */
void run_thread_group(std::int64_t size, const std::function<void(std::shared_ptr<ProcessGroup>)>& body);

/**
 * all_gather that gradients pass through: backward sums the ranks' gradients and returns the local rows (LAVIS 3, ITM's
 * image features). The identity in a group of one.
 */
at::Tensor all_gather_with_gradient(const at::Tensor& tensor, const std::shared_ptr<ProcessGroup>& group);

}  // namespace blip2
