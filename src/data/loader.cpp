#include "blip2/data/loader.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <numeric>
#include <optional>

#include "blip2/core/error.h"

namespace blip2 {
namespace {

void check_range(const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return;
  throw UserError("'" + std::string(name) + "' must be from " + std::to_string(least) + " to " + std::to_string(most) +
                  ", found " + std::to_string(value));
}

}  // namespace

// A batch whose samples several workers prepare; each slot is written by one of them.
struct Loader::Pending {
  std::int64_t epoch = 0;
  /** Place of slot 0 in `order`. */
  std::int64_t first = 0;
  std::shared_ptr<const Order> order;
  std::vector<std::optional<Sample>> samples;
  std::vector<std::int64_t> indices;
  std::vector<std::exception_ptr> errors;
  // Guarded by the loader's mutex:
  std::size_t taken = 0;
  std::size_t finished = 0;
};

void visit_fields(FieldVisitor& visitor, LoaderOptions& options) {
  visitor.field("seed", options.seed);
  visitor.field("batch_size", options.batch_size);
  visitor.field("workers", options.workers);
  visitor.field("prefetch_batches", options.prefetch_batches);
}

Loader::Loader(std::shared_ptr<const SampleSource> source, const LoaderOptions& options, OnSkip on_skip)
    : source_(std::move(source)), options_(options), on_skip_(std::move(on_skip)) {
  check_range("batch_size", options_.batch_size, 1, 1 << 20);
  check_range("workers", options_.workers, 0, 1024);
  check_range("prefetch_batches", options_.prefetch_batches, 1, 1024);
  const std::int64_t size = source_->size();
  if (size == 0) throw UserError("the data set is empty");
  if (options_.shuffle && size < options_.batch_size) {
    throw UserError("'batch_size' is " + std::to_string(options_.batch_size) + ", but the data set has only " +
                    std::to_string(size) + " samples");
  }
  batches_per_epoch_ =
      options_.shuffle ? size / options_.batch_size : (size + options_.batch_size - 1) / options_.batch_size;
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_available_.notify_all();
}

void Loader::seek(std::int64_t position) {
  TORCH_CHECK(position >= 0, "Loader: position ", position, " is negative");
  if (position == position_) return;
  const std::lock_guard lock(mutex_);
  position_ = position;
  queue_.clear();
  work_available_.notify_all();
}

Batch Loader::next() {
  std::shared_ptr<Pending> batch;
  if (options_.workers == 0) {
    batch = begin_batch(position_++);
    for (std::size_t slot = 0; slot < batch->samples.size(); ++slot) prepare_slot(*batch, slot);
  } else {
    while (static_cast<std::int64_t>(workers_.size()) < options_.workers) workers_.emplace_back([this] { work(); });
    batch = wait_for_batch();
  }
  report_skipped();
  for (const auto& error : batch->errors) {
    if (error) std::rethrow_exception(error);
  }
  return assemble(*batch);
}

std::vector<SkippedSample> Loader::skipped() const {
  const std::lock_guard lock(mutex_);
  std::vector<SkippedSample> skipped;
  for (const auto& [index, reason] : unreadable_) skipped.push_back({index, source_->name(index), reason});
  return skipped;
}

std::shared_ptr<Loader::Pending> Loader::begin_batch(std::int64_t position) {
  auto batch = std::make_shared<Pending>();
  batch->epoch = position / batches_per_epoch_;
  batch->first = position % batches_per_epoch_ * options_.batch_size;
  if (order_epoch_ != batch->epoch) {
    Order order(static_cast<std::size_t>(source_->size()));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    Random random({static_cast<std::uint64_t>(options_.seed), static_cast<std::uint64_t>(batch->epoch)});
    if (options_.shuffle) random.shuffle(order);
    order_ = std::make_shared<const Order>(std::move(order));
    order_epoch_ = batch->epoch;
  }
  batch->order = order_;
  const auto count = static_cast<std::size_t>(std::min(options_.batch_size, source_->size() - batch->first));
  batch->samples.resize(count);
  batch->indices.resize(count);
  batch->errors.resize(count);
  return batch;
}

bool Loader::try_sample(Pending& batch, std::size_t slot, std::int64_t index) {
  {
    const std::lock_guard lock(mutex_);
    if (unreadable_.contains(index)) return false;
  }
  Random random({static_cast<std::uint64_t>(options_.seed), static_cast<std::uint64_t>(batch.epoch),
                 static_cast<std::uint64_t>(index)});
  try {
    batch.samples[slot] = source_->load(index, random);
    batch.indices[slot] = index;
    return true;
  } catch (const UserError& error) {
    const std::lock_guard lock(mutex_);
    if (unreadable_.emplace(index, error.what()).second) unreported_.push_back(index);
    return false;
  }
}

void Loader::prepare_slot(Pending& batch, std::size_t slot) try {
  const std::int64_t place = batch.first + static_cast<std::int64_t>(slot);
  const std::int64_t size = source_->size();
  const auto at = [&](std::int64_t any_place) { return (*batch.order)[static_cast<std::size_t>(any_place % size)]; };
  if (try_sample(batch, slot, at(place))) return;
  // A batch further on: two unreadable samples of a batch then get different replacements.
  for (std::int64_t i = 0; options_.shuffle && i < size; ++i) {
    if (try_sample(batch, slot, at(place + options_.batch_size + i))) return;
  }
  const std::lock_guard lock(mutex_);
  if (static_cast<std::int64_t>(unreadable_.size()) < size) return;
  throw UserError("none of the " + std::to_string(size) + " samples can be read (" + unreadable_.begin()->second +
                  "): check the paths in the annotation file");
} catch (...) {
  batch.errors[slot] = std::current_exception();
}

Batch Loader::assemble(Pending& pending) const {
  const std::int64_t side = source_->image_size();
  const auto floats = static_cast<std::size_t>(3 * side * side);
  const auto pictures = std::count_if(pending.samples.begin(), pending.samples.end(),
                                      [](const auto& sample) { return sample.has_value() && !sample->pixels.empty(); });
  Batch batch;
  batch.pixels = at::empty({static_cast<std::int64_t>(pictures), 3, side, side}, at::kFloat);
  float* next = batch.pixels.mutable_data_ptr<float>();
  for (std::size_t slot = 0; slot < pending.samples.size(); ++slot) {
    auto& sample = pending.samples[slot];
    if (!sample) continue;
    if (!sample->pixels.empty()) {
      TORCH_CHECK(sample->pixels.size() == floats, "Loader: sample ", pending.indices[slot], " has ",
                  sample->pixels.size(), " values instead of ", floats);
      std::memcpy(next, sample->pixels.data(), floats * sizeof(float));
      next += floats;
      batch.pixel_rows.push_back(batch.size());
    }
    batch.captions.push_back(std::move(sample->caption));
    batch.image_ids.push_back(sample->image_id);
    batch.records.push_back(sample->record);
    batch.indices.push_back(pending.indices[slot]);
  }
  return batch;
}

std::shared_ptr<Loader::Pending> Loader::wait_for_batch() {
  std::unique_lock lock(mutex_);
  batch_ready_.wait(lock,
                    [&] { return !queue_.empty() && queue_.front()->finished == queue_.front()->samples.size(); });
  auto batch = queue_.front();
  queue_.pop_front();
  ++position_;
  lock.unlock();
  work_available_.notify_all();
  return batch;
}

void Loader::report_skipped() {
  std::vector<SkippedSample> skipped;
  {
    const std::lock_guard lock(mutex_);
    for (const auto index : unreported_) skipped.push_back({index, source_->name(index), unreadable_.at(index)});
    unreported_.clear();
  }
  if (!on_skip_) return;
  for (const auto& sample : skipped) on_skip_(sample);
}

void Loader::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto open = [&] {
      return std::find_if(queue_.begin(), queue_.end(),
                          [](const auto& batch) { return batch->taken < batch->samples.size(); });
    };
    work_available_.wait(lock, [&] {
      return stop_ || open() != queue_.end() || static_cast<std::int64_t>(queue_.size()) < options_.prefetch_batches;
    });
    if (stop_) return;
    if (open() == queue_.end()) queue_.push_back(begin_batch(position_ + static_cast<std::int64_t>(queue_.size())));
    const std::shared_ptr<Pending> batch = *open();
    const std::size_t slot = batch->taken++;
    lock.unlock();
    prepare_slot(*batch, slot);
    lock.lock();
    if (++batch->finished == batch->samples.size()) batch_ready_.notify_all();
  }
}

}  // namespace blip2
