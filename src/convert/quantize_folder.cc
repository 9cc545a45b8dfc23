#include "convert/quantize_folder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/e4m3.h"
#include "base/half.h"
#include "base/mapped_file.h"
#include "base/new_file.h"
#include "base/utf8.h"
#include "load/hf_config.h"
#include "load/hf_quant.h"
#include "load/json_events.h"
#include "load/limits.h"

namespace farthing {
namespace {

namespace fs = std::filesystem;
using Kind = FolderType::Kind;

constexpr std::array kTypes = {FolderType{"int4-g128", Kind::kInt4, 128},
                               FolderType{"int4-g32", Kind::kInt4, 32},
                               FolderType{"int8", Kind::kInt8},
                               FolderType{"fp8", Kind::kFP8}};
constexpr int64_t kGroups[] = {128, 64, 32};
constexpr int64_t kFP8Block = 128;
constexpr float kMostFP8 = 448;
constexpr size_t kMostConfig = size_t{4} << 20;  // bytes

// What a folder holds beside its weights and config.json.
constexpr const char* kOtherFiles[] = {"tokenizer.json",
                                       "tokenizer_config.json",
                                       "tokenizer.model",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "chat_template.jinja",
                                       "generation_config.json"};

const Format* plain_format(const StoredTensor& tensor) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (tensor.is(format_of(type).name)) return &format_of(type);
  }
  return nullptr;
}

// "blk.3.attn_q": 3; nothing for what is in no layer, or no matrix of one.
std::optional<int64_t> layer_of_matrix(std::string_view gguf) {
  constexpr std::string_view kPrefix = "blk.";
  if (!gguf.starts_with(kPrefix) || gguf.ends_with("norm")) return std::nullopt;
  int64_t layer = 0;
  const auto [end, error] =
      std::from_chars(gguf.data() + kPrefix.size(), gguf.data() + gguf.size(), layer);
  if (error != std::errc()) return std::nullopt;
  return layer;
}

// The largest group, up to the type's, that divides a row; 0 if none does.
int64_t group_for(const FolderType& type, int64_t cols) {
  for (const int64_t group : kGroups) {
    if (group <= type.group && cols % group == 0) return group;
  }
  return 0;
}

// ---- config.json ----

Json weights_scheme(const FolderType& type, int64_t group) {
  if (type.kind == Kind::kInt8)
    return {{"num_bits", 8},
            {"type", "int"},
            {"symmetric", true},
            {"strategy", "channel"},
            {"dynamic", false}};
  return {{"num_bits", 4},
          {"type", "int"},
          {"symmetric", false},
          {"strategy", "group"},
          {"group_size", group},
          {"dynamic", false}};
}

Json quantization_config(const FolderPlan& plan) {
  const FolderType& type = *plan.type;
  if (type.kind == Kind::kFP8)
    return {{"quant_method", "fp8"},
            {"fmt", "e4m3"},
            {"activation_scheme", "dynamic"},
            {"weight_block_size", {kFP8Block, kFP8Block}},
            {"modules_to_not_convert", {"lm_head"}}};
  Json ignored = Json::array({"lm_head"});
  for (const StoredTensor* kept : plan.kept) {
    if (kept->n_dims == 2 && kept->name.find(".layers.") != std::string::npos)
      ignored.push_back(kept->name.substr(0, kept->name.rfind('.')));
  }
  Json groups = Json::object();
  for (const int64_t group : {int64_t{0}, int64_t{128}, int64_t{64}, int64_t{32}}) {
    Json targets = Json::array();
    for (const FolderMatrix& m : plan.matrices) {
      if (m.group == group) targets.push_back(m.module);
    }
    if (targets.empty()) continue;
    if (targets.size() == plan.matrices.size()) targets = Json::array({"Linear"});
    Json scheme = {{"targets", targets},
                   {"weights", weights_scheme(type, group)},
                   {"input_activations", nullptr}};
    if (type.kind == Kind::kInt8)
      scheme["input_activations"] = {{"num_bits", 8},
                                     {"type", "int"},
                                     {"symmetric", true},
                                     {"strategy", "token"},
                                     {"dynamic", true}};
    groups[fmt::format("group_{}", groups.size())] = scheme;
  }
  return {{"quant_method", "compressed-tensors"},
          {"format", type.kind == Kind::kInt4 ? "pack-quantized" : "int-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", groups},
          {"ignore", ignored}};
}

// ---- matrices ----

struct Floats {
  std::vector<float> values;
  Matrix<const float> view;
};

Result<Floats> floats_of(const FolderMatrix& m) {
  Floats out;
  out.values.resize(static_cast<size_t>(m.stored->size()));
  plain_format(*m.stored)->decode(m.stored->bytes.data(), out.values.data(), m.stored->size());
  out.view = {out.values.data(), m.rows(), m.cols()};
  for (size_t i = 0; i < out.values.size(); ++i) {
    if (!std::isfinite(out.values[i]))
      return bad_input("tensor '{}': row {} holds {}, not a number: is the file damaged?",
                       printable(m.stored->name),
                       static_cast<int64_t>(i) / m.cols(),
                       out.values[i]);
  }
  return out;
}

// A matrix as it is stored: its parts, one after another; and what its values have become.
struct Stored {
  std::vector<std::string> parts;
  std::vector<float> values;
};

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

Stored store_int4(const Int4Matrix& m) {
  const auto groups = m.groups();
  std::vector<uint32_t> words(m.q.size() / 8);
  for (size_t i = 0; i < m.q.size(); ++i) words[i / 8] |= uint32_t{m.q[i]} << (4 * (i % 8));
  std::vector<uint32_t> zeros(static_cast<size_t>(ceil_div(m.rows, 8) * groups));
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t g = 0; g < groups; ++g)
      zeros[static_cast<size_t>(r / 8 * groups + g)] |=
          uint32_t{m.zero[static_cast<size_t>(r * groups + g)]} << (4 * (r % 8));
  }
  Stored out;
  out.parts = {bytes_of(words),
               bytes_of(m.scale),
               bytes_of(std::vector<int64_t>{m.rows, m.cols}),
               bytes_of(zeros)};
  out.values.resize(m.q.size());
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c)
      out.values[static_cast<size_t>(r * m.cols + c)] = m.value(r, c);
  }
  return out;
}

Stored store_int8(Matrix<const float> w, ThreadTeam& team) {
  std::vector<int8_t> q(static_cast<size_t>(w.rows * w.cols));
  std::vector<float> scales(static_cast<size_t>(w.rows)), values(q.size());
  team.parallel_for(w.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float most = 0;
      for (const float v : w[r]) most = std::max(most, std::fabs(v));
      const float scale = most / 127;
      scales[static_cast<size_t>(r)] = scale;
      for (int64_t c = 0; c < w.cols; ++c) {
        const float n =
            scale > 0 ? std::clamp(std::nearbyint(w.row(r)[c] / scale), -127.f, 127.f) : 0;
        q[static_cast<size_t>(r * w.cols + c)] = static_cast<int8_t>(n);
        values[static_cast<size_t>(r * w.cols + c)] = scale * n;
      }
    }
  });
  return {{bytes_of(q), bytes_of(scales)}, std::move(values)};
}

Stored store_fp8(Matrix<const float> w, ThreadTeam& team) {
  const int64_t down = ceil_div(w.rows, kFP8Block), across = ceil_div(w.cols, kFP8Block);
  std::vector<uint8_t> q(static_cast<size_t>(w.rows * w.cols));
  std::vector<float> scales(static_cast<size_t>(down * across)), values(q.size());
  team.parallel_for(down, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin * across; block < end * across; ++block) {
      const int64_t top = block / across * kFP8Block, left = block % across * kFP8Block;
      const int64_t bottom = std::min(top + kFP8Block, w.rows);
      const int64_t right = std::min(left + kFP8Block, w.cols);
      float most = 0;
      for (int64_t r = top; r < bottom; ++r) {
        for (int64_t c = left; c < right; ++c) most = std::max(most, std::fabs(w.row(r)[c]));
      }
      const float scale = most / kMostFP8;
      scales[static_cast<size_t>(block)] = scale;
      for (int64_t r = top; r < bottom; ++r) {
        for (int64_t c = left; c < right; ++c) {
          const uint8_t code = scale > 0 ? f32_to_e4m3(w.row(r)[c] / scale) : 0;
          q[static_cast<size_t>(r * w.cols + c)] = code;
          values[static_cast<size_t>(r * w.cols + c)] = scale * e4m3_to_f32(code);
        }
      }
    }
  });
  return {{bytes_of(q), bytes_of(scales)}, std::move(values)};
}

Result<Stored> store(const FolderPlan& plan,
                     const FolderMatrix& m,
                     Matrix<const float> w,
                     const FolderOptions& options,
                     ThreadTeam& team) {
  if (plan.type->kind == Kind::kInt8) return store_int8(w, team);
  if (plan.type->kind == Kind::kFP8) return store_fp8(w, team);
  Int4Inputs inputs;
  std::vector<float> weights;
  if (m.importance != nullptr) weights = m.importance->mean_squares();
  inputs.weights = weights;
  if (options.method == Int4Method::kFeedback) {
    FARTHING_TRY(inputs.products, options.products_of(m.tensor));
  }
  auto made = quantize_int4(w, m.group, options.method, inputs, team);
  if (!made)
    return std::move(made).error().in(fmt::format("tensor '{}'", printable(m.stored->name)));
  return store_int4(*made);
}

TensorLoss loss_of(Matrix<const float> before,
                   std::span<const float> after,
                   const Importance* weighed) {
  std::vector<float> weights;
  if (weighed != nullptr) weights = weighed->mean_squares();
  LossSums sums;
  const auto cols = static_cast<size_t>(before.cols);
  for (int64_t r = 0; r < before.rows; ++r)
    sums.add({before.row(r), cols}, after.subspan(static_cast<size_t>(r) * cols, cols), weights);
  return sums.loss();
}

// ---- files ----

// A folder that is being made, beside its path; gone if it doesn't become whole.
class NewFolder {
 public:
  static Result<NewFolder> create(const std::string& path) {
    NewFolder folder;
    folder.path_ = (fs::path(path) / "").lexically_normal().parent_path();
    folder.temporary_ = folder.path_.string() + ".part";
    std::error_code error;
    if (fs::exists(fs::symlink_status(folder.path_, error)))  // a link to nothing, too
      return usage_error("{}: exists already: name a new folder", path);
    if (!fs::create_directory(folder.temporary_, error))
      return no_resource(
          "{}: can't be made: {}",
          folder.temporary_.string(),
          error ? error.message() : "it exists already: if no other run is writing it, remove it");
    folder.ours_ = true;
    return folder;
  }
  NewFolder(NewFolder&& other) noexcept
      : path_(std::move(other.path_)),
        temporary_(std::move(other.temporary_)),
        ours_(std::exchange(other.ours_, false)) {}
  NewFolder& operator=(NewFolder&&) = delete;
  ~NewFolder() {
    std::error_code error;
    if (ours_) fs::remove_all(temporary_, error);
  }

  std::string path_of(const char* name) const { return (temporary_ / name).string(); }
  Status finish() {
    std::error_code error;
    fs::rename(temporary_, path_, error);
    if (error) return no_resource("{}: can't be made: {}", path_.string(), error.message());
    ours_ = false;
    return {};
  }

 private:
  NewFolder() = default;

  fs::path path_, temporary_;
  bool ours_ = false;
};

Status copy_other_files(const std::string& from, const NewFolder& to) {
  for (const char* name : kOtherFiles) {
    const fs::path path = fs::path(from) / name;
    std::error_code error;
    if (!fs::exists(path, error)) continue;
    FARTHING_TRY(const MappedFile file, MappedFile::open(path.string()));
    const auto bytes = file.bytes();
    FARTHING_TRY_VOID(
        write_file(to.path_of(name), {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  }
  return {};
}

std::vector<StoredSpec> specs_of(const FolderPlan& plan) {
  std::vector<StoredSpec> specs;
  for (const StoredTensor* t : plan.kept)
    specs.push_back({t->name,
                     t->type->name,
                     {t->shape.begin(), t->shape.begin() + static_cast<ptrdiff_t>(t->n_dims)},
                     static_cast<int64_t>(t->bytes.size())});
  for (const FolderMatrix& m : plan.matrices)
    std::ranges::move(m.parts(plan.type->kind), std::back_inserter(specs));
  return specs;
}

Status write_weights(const FolderPlan& plan,
                     const std::string& path,
                     const FolderOptions& options,
                     ThreadTeam& team,
                     const QuantizeProgress& progress) {
  const std::vector<StoredSpec> specs = specs_of(plan);
  const std::string head = safetensors_head(specs);
  auto bytes = static_cast<int64_t>(head.size());
  for (const StoredSpec& spec : specs) bytes += spec.bytes;
  FARTHING_TRY(NewFile file, NewFile::create(path, bytes));
  FARTHING_TRY_VOID(file.write(std::as_bytes(std::span(head))));
  for (const StoredTensor* t : plan.kept) FARTHING_TRY_VOID(file.write(t->bytes));
  int64_t values_done = 0;
  for (size_t i = 0; i < plan.matrices.size(); ++i) {
    const FolderMatrix& m = plan.matrices[i];
    FARTHING_TRY(const Floats w, floats_of(m));
    FARTHING_TRY(const Stored made, store(plan, m, w.view, options, team));
    for (const std::string& part : made.parts)
      FARTHING_TRY_VOID(file.write(std::as_bytes(std::span(part))));
    const TensorLoss loss = loss_of(w.view, made.values, m.importance);
    values_done += m.stored->size();
    if (!progress(i, values_done, &loss)) return Error{ErrorKind::kInterrupted, ""};
  }
  return file.finish();
}

}  // namespace

std::span<const FolderType> all_folder_types() {
  return kTypes;
}

const FolderType* folder_type_from_name(std::string_view name) {
  const auto* found = std::ranges::find(kTypes, name, &FolderType::name);
  return found == kTypes.end() ? nullptr : found;
}

std::vector<StoredSpec> FolderMatrix::parts(Kind kind) const {
  const int64_t r = rows(), c = cols(), groups = group > 0 ? c / group : 0;
  switch (kind) {
    case Kind::kInt4:
      return {{module + ".weight_packed", "I32", {r, c / 8}, r * c / 2},
              {module + ".weight_scale", "F16", {r, groups}, r * groups * 2},
              {module + ".weight_shape", "I64", {2}, 16},
              {module + ".weight_zero_point",
               "I32",
               {ceil_div(r, 8), groups},
               ceil_div(r, 8) * groups * 4}};
    case Kind::kInt8:
      return {{module + ".weight", "I8", {r, c}, r * c},
              {module + ".weight_scale", "F32", {r, 1}, r * 4}};
    case Kind::kFP8:
      break;
  }
  const int64_t down = ceil_div(r, kFP8Block), across = ceil_div(c, kFP8Block);
  return {{module + ".weight", "F8_E4M3", {r, c}, r * c},
          {module + ".weight_scale_inv", "F32", {down, across}, down * across * 4}};
}

int64_t FolderPlan::n_values() const {
  int64_t n = 0;
  for (const FolderMatrix& m : matrices) n += m.stored->size();
  return n;
}

int64_t FolderPlan::bytes() const {
  int64_t n = 0;
  for (const FolderMatrix& m : matrices) {
    for (const StoredSpec& part : m.parts(type->kind)) n += part.bytes;
  }
  return n;
}

int64_t FolderPlan::widest() const {
  int64_t cols = 0;
  for (const FolderMatrix& m : matrices) cols = std::max(cols, m.cols());
  return cols;
}

Result<FolderPlan> plan_folder(const ModelFile& file,
                               const std::string& path,
                               const FolderType& type,
                               const ImportanceMatrix* importance) {
  if (file.tokenizer_json.empty())
    return usage_error(
        "{} is written as a Hugging Face folder, and so is made of one: give a folder", type.name);
  FolderPlan plan{.type = &type, .path = path};
  Allowance allowance;
  FARTHING_TRY(const std::string text,
               read_file((fs::path(path) / "config.json").string(), kMostConfig));
  FARTHING_TRY(const Metadata config,
               flatten_json(std::as_bytes(std::span(text)), kMostConfig, {}, allowance));
  FARTHING_TRY(const HfFamily* const family, find_family(config));
  FARTHING_TRY(const HfQuantisation before, read_quantisation(config));
  if (!before.method.empty())
    return bad_input("{}: is quantised already ({}): give the folder that was made of",
                     path,
                     printable(before.method));
  for (const MappedFile& shard : file.files) {
    FARTHING_TRY(auto tensors, parse_safetensors(shard.bytes(), allowance));
    std::ranges::move(tensors, std::back_inserter(plan.stored));
  }
  for (const StoredTensor& t : plan.stored) {
    const size_t dot = t.name.rfind('.');
    const std::string module = t.name.substr(0, dot == std::string::npos ? 0 : dot);
    const auto found = find_module(*family, module, 0, 0);
    const auto layer = found ? layer_of_matrix(found->gguf) : std::nullopt;
    const bool is_matrix = layer && t.name.ends_with(".weight") && t.n_dims == 2 &&
                           plain_format(t) != nullptr && t.size() > 0;
    const int64_t group = is_matrix && type.kind == Kind::kInt4 ? group_for(type, t.shape[1]) : 0;
    if (!is_matrix || (type.kind == Kind::kInt4 && group == 0)) {
      plan.kept.push_back(&t);
      continue;
    }
    FolderMatrix m{&t, module, found->gguf + ".weight", *layer, group};
    if (importance != nullptr) {
      const auto weights = importance->tensors.find(m.tensor);
      if (weights != importance->tensors.end()) m.importance = &weights->second;
      if (m.importance != nullptr && std::cmp_not_equal(m.importance->sums.size(), m.cols()))
        return bad_input(
            "tensor '{}': {} columns, but the importance matrix has {}: is it of another model?",
            printable(t.name),
            m.cols(),
            m.importance->sums.size());
    }
    plan.matrices.push_back(std::move(m));
  }
  if (plan.matrices.empty()) return bad_input("{}: no layer has a matrix to quantise", path);
  std::ranges::stable_sort(plan.matrices, {}, &FolderMatrix::layer);
  plan.config = Json::parse(text, nullptr, false);
  if (!plan.config.is_object()) return bad_input("{}: config.json is no object", path);
  plan.config["quantization_config"] = quantization_config(plan);
  return plan;
}

Status write_folder(const FolderPlan& plan,
                    const std::string& out,
                    const FolderOptions& options,
                    ThreadTeam& team,
                    const QuantizeProgress& progress) {
  CHECK(options.method != Int4Method::kFeedback || options.products_of);
  FARTHING_TRY(NewFolder folder, NewFolder::create(out));
  FARTHING_TRY_VOID(
      write_weights(plan, folder.path_of("model.safetensors"), options, team, progress));
  FARTHING_TRY_VOID(copy_other_files(plan.path, folder));
  FARTHING_TRY_VOID(
      write_file(folder.path_of("config.json"),
                 plan.config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"));
  return folder.finish();
}

}  // namespace farthing
