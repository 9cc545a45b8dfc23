#include "load/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "load/safetensors_for_tests.h"

namespace farthing {
namespace {

using testing::StoredDoc;
using ::testing::HasSubstr;

StoredDoc two_tensors() {
  StoredDoc doc;
  doc.add("b", {2, 3});
  doc.add("a", {4});
  return doc;
}

std::string refusal_of(const std::string& bytes) {
  Allowance allowance;
  const auto tensors = parse_safetensors(std::as_bytes(std::span(bytes)), allowance);
  if (tensors) return "accepted";
  EXPECT_EQ(tensors.error().kind, ErrorKind::kBadInput);
  EXPECT_EQ(tensors.error().message.find('\n'), std::string::npos);
  return tensors.error().message;
}

TEST(Safetensors, ReadsWhatWasWritten) {
  const std::string bytes = encode(two_tensors());
  Allowance allowance;
  const auto tensors = parse_safetensors(std::as_bytes(std::span(bytes)), allowance);
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 2U);
  EXPECT_EQ(tensors->at(0).name, "b");
  EXPECT_EQ(tensors->at(0).describe(), "F32 [2, 3]");
  EXPECT_EQ(tensors->at(0).bytes.size(), 24U);
  EXPECT_EQ(tensors->at(1).size(), 4);
  EXPECT_EQ(reinterpret_cast<const char*>(tensors->at(1).bytes.data()) + 16,
            bytes.data() + bytes.size());
}

TEST(Safetensors, ScalarsAndEmptyTensorsAreTensors) {
  StoredDoc doc;
  doc.add("scalar", {});
  doc.add("none", {0, 5});
  EXPECT_EQ(refusal_of(encode(doc)), "accepted");
}

TEST(Safetensors, RefusesWhatIsNoSuchFile) {
  EXPECT_THAT(refusal_of("short"), HasSubstr("length of the header"));
  EXPECT_THAT(refusal_of(std::string("\x09\0\0\0\0\0\0\0{}", 10)), HasSubstr("ends inside"));
  EXPECT_THAT(refusal_of(std::string(16, '\xff')), HasSubstr("no safetensors file"));
  const std::string bytes = encode(two_tensors());
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_NE(refusal_of(bytes.substr(0, n)), "accepted") << n;
  }
}

struct Lie {
  const char* what;
  std::function<void(StoredDoc&)> tell;
  const char* message;
};

TEST(Safetensors, RefusesLies) {
  using Doc = StoredDoc;
  const auto header = [](const char* text) {
    return [=](Doc& d) { d.header = text; };
  };
  const Lie lies[] = {
      {"unknown type", [](Doc& d) { d.tensors[0].dtype = "Q8"; }, "tensor 'b': dtype 'Q8'"},
      {"other type", [](Doc& d) { d.tensors[0].dtype = "F16"; }, "no range of the 12 bytes"},
      {"negative", [](Doc& d) { d.tensors[0].shape[0] = -2; }, "numbers from 0 to 2^63 - 1"},
      {"overflow",
       [](Doc& d) { d.tensors[0].shape = {int64_t{1} << 40, int64_t{1} << 40}; },
       "more values than a file can hold"},
      {"overflow behind a 0",
       [](Doc& d) { d.tensors[0].shape = {0, int64_t{1} << 40, int64_t{1} << 40}; },
       "more values than a file can hold"},
      {"half bytes",
       [](Doc& d) { d.tensors[0].dtype = "F4", d.tensors[0].shape = {1}; },
       "no whole number of bytes"},
      {"nine dimensions",
       [](Doc& d) { d.tensors[0].shape = {1, 1, 1, 1, 1, 1, 1, 2, 3}; },
       "more than 8 dimensions"},
      {"reversed", [](Doc& d) { d.tensors[0].range = {24, 0}; }, "no range"},
      {"beyond", [](Doc& d) { d.tensors[1].range = {40, 56}; }, "reach beyond"},
      {"far beyond",
       [](Doc& d) { d.tensors[1].range = {INT64_MAX - 16, INT64_MAX}; },
       "reach beyond"},
      {"overlapping", [](Doc& d) { d.tensors[1].range = {8, 24}; }, "those before end at"},
      {"a hole", [](Doc& d) { d.tensors[1].range = {28, 44}, d.after = "hole"; }, "begin at 28"},
      {"bytes of nobody", [](Doc& d) { d.after = "hidden"; }, "6 bytes at the end"},
      {"twice",
       [](Doc& d) { d.tensors.push_back(d.tensors[0]); },
       "tensor 'b': occurs a second time"},
      {"no name", [](Doc& d) { d.tensors[0].name = ""; }, "a name of 0 bytes"},
      {"long name", [](Doc& d) { d.tensors[0].name = std::string(600, 'x'); }, "a name of 600"},
      {"long header", [](Doc& d) { d.length = uint64_t{1} << 40; }, "no safetensors file"},
      {"a list", header("[1]"), "must be a JSON object"},
      {"no JSON", header("{\"a\": "), "no JSON here"},
      {"a number", header(R"({"a": 1})"), "must be an object"},
      {"null", header(R"({"a": null})"), "must be an object"},
      {"empty", header(R"({"a": {}})"), "dtype is missing"},
      {"no shape", header(R"({"a": {"dtype": "F32", "data_offsets": [0, 40]}})"), "one shape"},
      {"two shapes",
       header(R"({"a": {"dtype": "F32", "shape": [10], "shape": [], "data_offsets": [0, 40]}})"),
       "one shape"},
      {"no range", header(R"({"a": {"dtype": "F32", "shape": [10]}})"), "two numbers"},
      {"three ends",
       header(R"({"a": {"dtype": "F32", "shape": [10], "data_offsets": [0, 40, 40]}})"),
       "more than two numbers"},
      {"a fraction",
       header(R"({"a": {"dtype": "F32", "shape": [10.0], "data_offsets": [0, 40]}})"),
       "numbers from 0"},
      {"a stranger",
       header(R"({"a": {"dtype": "F32", "shape": [10], "data_offsets": [0, 40], "x": 1}})"),
       "'x' is none of"},
      {"too deep", header(R"({"a":[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]})"), "nested deeper"},
  };
  for (const Lie& lie : lies) {
    StoredDoc doc = two_tensors();
    lie.tell(doc);
    EXPECT_THAT(refusal_of(encode(doc)), HasSubstr(lie.message)) << lie.what;
  }
}

}  // namespace
}  // namespace farthing
