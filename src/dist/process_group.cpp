#include "blip2/dist/process_group.h"

#include <torch/torch.h>

#include <barrier>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace blip2 {
namespace {

class SingleProcessGroup final : public ProcessGroup {
 public:
  std::int64_t rank() const override { return 0; }
  std::int64_t size() const override { return 1; }
  at::Tensor all_gather(const at::Tensor& tensor) override { return tensor.detach(); }
  at::Tensor all_reduce_sum(const at::Tensor& tensor) override { return tensor.detach(); }
};

// What the threads of one group share: a slot per rank and a barrier on both sides of reading the slots.
struct Meeting {
  explicit Meeting(std::int64_t size) : barrier(size), slots(static_cast<std::size_t>(size)) {}

  std::barrier<> barrier;
  std::vector<at::Tensor> slots;
};

class ThreadGroup final : public ProcessGroup {
 public:
  ThreadGroup(std::int64_t rank, std::shared_ptr<Meeting> meeting) : rank_(rank), meeting_(std::move(meeting)) {}
  std::int64_t rank() const override { return rank_; }
  std::int64_t size() const override { return static_cast<std::int64_t>(meeting_->slots.size()); }
  at::Tensor all_gather(const at::Tensor& tensor) override {
    return exchange(tensor, [](const std::vector<at::Tensor>& all) { return torch::cat(all); });
  }
  at::Tensor all_reduce_sum(const at::Tensor& tensor) override {
    return exchange(tensor, [](const std::vector<at::Tensor>& all) { return torch::stack(all).sum(0); });
  }

 private:
  template <typename Combine>
  at::Tensor exchange(const at::Tensor& tensor, Combine combine) {
    torch::NoGradGuard no_grad;
    meeting_->slots[static_cast<std::size_t>(rank_)] = tensor.detach();
    meeting_->barrier.arrive_and_wait();
    at::Tensor result = combine(meeting_->slots);
    meeting_->barrier.arrive_and_wait();
    return result;
  }

  std::int64_t rank_;
  std::shared_ptr<Meeting> meeting_;
};

// The autograd context stores no C++ pointers, so the group travels as a saved IValue capsule of this type.
struct GroupHolder : torch::CustomClassHolder {
  explicit GroupHolder(std::shared_ptr<ProcessGroup> held) : group(std::move(held)) {}
  std::shared_ptr<ProcessGroup> group;
};

struct GatherWithGradient : torch::autograd::Function<GatherWithGradient> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& tensor,
                            const std::shared_ptr<ProcessGroup>& group) {
    context->saved_data["group"] = c10::IValue::make_capsule(c10::make_intrusive<GroupHolder>(group));
    context->saved_data["rows"] = tensor.size(0);
    return group->all_gather(tensor);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto holder = c10::static_intrusive_pointer_cast<GroupHolder>(context->saved_data["group"].toCapsule());
    const std::int64_t rows = context->saved_data["rows"].toInt();
    const at::Tensor sum = holder->group->all_reduce_sum(gradients[0]);
    return {sum.narrow(0, holder->group->rank() * rows, rows), at::Tensor()};
  }
};

}  // namespace

std::shared_ptr<ProcessGroup> single_process_group() {
  return std::make_shared<SingleProcessGroup>();
}

void run_thread_group(std::int64_t size, const std::function<void(std::shared_ptr<ProcessGroup>)>& body) {
  auto meeting = std::make_shared<Meeting>(size);
  std::exception_ptr first;
  std::mutex mutex;
  {
    std::vector<std::jthread> threads;
    for (std::int64_t rank = 0; rank < size; ++rank) {
      threads.emplace_back([&, rank] {
        try {
          body(std::make_shared<ThreadGroup>(rank, meeting));
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!first) first = std::current_exception();
          meeting->barrier.arrive_and_drop();  // the others must not wait for a rank that is gone
        }
      });
    }
  }
  if (first) std::rethrow_exception(first);
}

at::Tensor all_gather_with_gradient(const at::Tensor& tensor, const std::shared_ptr<ProcessGroup>& group) {
  if (group->size() == 1) return tensor;
  return GatherWithGradient::apply(tensor, group);
}

}  // namespace blip2
