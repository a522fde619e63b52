// Batches of a sample source, prepared ahead by worker threads. What batch number N holds is a function of (seed, N)
// and of which files can be read: neither the number of workers nor where a resumed run begins changes it. Order is the
// permutation Random({seed, epoch}), a sample's augmentation Random({seed, epoch, index}).
#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "blip2/core/field_visitor.h"
#include "blip2/data/sample_source.h"

namespace blip2 {

struct LoaderOptions {
  std::int64_t seed = 42;
  std::int64_t batch_size = 32;
  /** Threads that prepare samples; 0: the caller's own, when it asks. */
  std::int64_t workers = 4;
  /** Batches prepared ahead. */
  std::int64_t prefetch_batches = 4;
  /**
   * True: every epoch in another order, an incomplete last batch left out, unreadable samples replaced. False: in order
   * and complete for evaluation, the last batch smaller and unreadable samples left out.
   */
  bool shuffle = true;
};

/** Reads seed, batch_size, workers and prefetch_batches; `shuffle` is the program's choice and no key. */
void visit_fields(FieldVisitor& visitor, LoaderOptions& options);

struct Batch {
  /** [P, 3, image_size, image_size] float32: of all B samples, or of those without features in a store. */
  at::Tensor pixels;
  std::vector<std::string> captions;
  std::vector<std::int64_t> image_ids;
  /** Indices into the source. */
  std::vector<std::int64_t> indices;
  /** Records in a FeatureStore, -1 without one, and which samples the pictures of `pixels` are of. */
  std::vector<std::int64_t> records, pixel_rows;

  std::int64_t size() const { return static_cast<std::int64_t>(indices.size()); }
};

/** A sample that could not be read. */
struct SkippedSample {
  std::int64_t index = 0;
  std::string name;
  std::string reason;
};

class Loader {
 public:
  /** Hears of every unreadable sample once, in the thread that calls next(). */
  using OnSkip = std::function<void(const SkippedSample&)>;

  /** Throws UserError for options out of range and, with shuffle, for a batch larger than the source. */
  Loader(std::shared_ptr<const SampleSource> source, const LoaderOptions& options, OnSkip on_skip = {});
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  std::int64_t batches_per_epoch() const { return batches_per_epoch_; }

  /** Number of the batch that next() gives; batches of all epochs are numbered through from 0. */
  std::int64_t position() const { return position_; }

  /** Makes next() give batch `position`; costs nothing where it does so already. */
  void seek(std::int64_t position);

  /**
   * The next batch. In an unreadable sample's place (with shuffle) stands the first readable one of those that follow
   * its batch in the epoch's order. Throws UserError when no sample of the source can be read; what a worker threw.
   */
  Batch next();

  /** All unreadable samples met so far, by index. */
  std::vector<SkippedSample> skipped() const;

 private:
  struct Pending;
  using Order = std::vector<std::int64_t>;

  std::shared_ptr<Pending> begin_batch(std::int64_t position);
  void prepare_slot(Pending& batch, std::size_t slot);
  bool try_sample(Pending& batch, std::size_t slot, std::int64_t index);
  Batch assemble(Pending& batch) const;
  std::shared_ptr<Pending> wait_for_batch();
  void report_skipped();
  void work();

  std::shared_ptr<const SampleSource> source_;
  LoaderOptions options_;
  OnSkip on_skip_;
  std::int64_t batches_per_epoch_ = 0;
  std::int64_t position_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable work_available_;
  std::condition_variable batch_ready_;
  /** Batches position_, position_ + 1, ... that are being prepared. */
  std::deque<std::shared_ptr<Pending>> queue_;
  std::int64_t order_epoch_ = -1;
  std::shared_ptr<const Order> order_;
  std::map<std::int64_t, std::string> unreadable_;
  std::vector<std::int64_t> unreported_;
  bool stop_ = false;
  std::vector<std::jthread> workers_;
};

}  // namespace blip2
