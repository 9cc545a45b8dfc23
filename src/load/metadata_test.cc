#include "load/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "load/gguf.h"
#include "load/gguf_for_tests.h"

namespace farthing {
namespace {

using ::testing::HasSubstr;
using testing::meta;

class MetadataTest : public ::testing::Test {
 protected:
  MetadataTest() {
    testing::GgufDoc doc;
    doc.keys = {meta("u8", uint8_t{7}),
                meta("i32", int32_t{-3}),
                meta("u64", std::numeric_limits<uint64_t>::max()),
                meta("f32", 1.5F),
                meta("nan", std::nanf("")),
                meta("inf", std::numeric_limits<double>::infinity()),
                meta("true", true),
                meta("text", "hello"),
                meta("ints", std::vector<int16_t>{4, 5, -6}),
                meta("floats", std::vector<float>{1, 2}),
                meta("bools", std::vector<uint8_t>{}),
                meta("words", std::vector<std::string>{"one", "two"}),
                meta("long", std::vector<uint8_t>(kMaxListLength + 1, 1))};
    doc.keys[10] = {"bools",
                    MetaType::kArray,
                    "",
                    MetaType::kBool,
                    {std::string(1, '\1'), std::string(1, '\0')}};
    file_ = testing::encode(doc);
    Allowance allowance;
    auto image = parse_gguf(file_.span(), allowance);
    EXPECT_TRUE(image) << image.error().message;
    metadata_ = std::move(image->metadata);
  }

  testing::GgufBytes file_;
  Metadata metadata_;
};

TEST_F(MetadataTest, MissingIsNothing) {
  EXPECT_EQ(*metadata_.integer("no", 0, 1), std::nullopt);
  EXPECT_EQ(*metadata_.number("no"), std::nullopt);
  EXPECT_EQ(*metadata_.boolean("no"), std::nullopt);
  EXPECT_EQ(*metadata_.string("no"), std::nullopt);
  EXPECT_EQ(*metadata_.integers("no", 0, 1), std::nullopt);
  EXPECT_EQ(metadata_.find("no"), nullptr);
}

TEST_F(MetadataTest, ScalarsOfTheRightType) {
  EXPECT_EQ(**metadata_.integer("u8", 7, 7), 7);
  EXPECT_EQ(**metadata_.integer("i32", -10, 10), -3);
  EXPECT_EQ(**metadata_.number("f32"), 1.5);
  EXPECT_EQ(**metadata_.boolean("true"), true);
  EXPECT_EQ(**metadata_.string("text"), "hello");
}

TEST_F(MetadataTest, ListsAndScalarsAsLists) {
  EXPECT_EQ(**metadata_.integers("ints", -10, 10), (std::vector<int64_t>{4, 5, -6}));
  EXPECT_EQ(**metadata_.integers("u8", 0, 10), (std::vector<int64_t>{7}));
  EXPECT_EQ(**metadata_.numbers("floats"), (std::vector<double>{1, 2}));
  EXPECT_EQ(**metadata_.booleans("bools"), (std::vector<bool>{true, false}));
  EXPECT_EQ(**metadata_.strings("words"), (std::vector<std::string>{"one", "two"}));
}

TEST_F(MetadataTest, RefusalsNameKeyAndReason) {
  const auto text = [](const auto& result) { return result ? "accepted" : result.error().message; };
  EXPECT_EQ(text(metadata_.integer("u8", 8, 9)), "key 'u8': 7 is outside [8, 9]");
  EXPECT_EQ(text(metadata_.integer("u64", 0, std::numeric_limits<int64_t>::max())),
            "key 'u64': 18446744073709551615 is outside [0, 9223372036854775807]");
  EXPECT_EQ(text(metadata_.integer("text", 0, 9)),
            "key 'text': holds a string, must be an integer");
  EXPECT_EQ(text(metadata_.integer("f32", 0, 9)), "key 'f32': holds a float, must be an integer");
  EXPECT_EQ(text(metadata_.integer("ints", 0, 9)),
            "key 'ints': holds an array of 3 int16, must be an integer");
  EXPECT_EQ(text(metadata_.number("u8")), "key 'u8': holds an integer, must be a float");
  EXPECT_THAT(text(metadata_.number("nan")), HasSubstr("not a finite number"));
  EXPECT_THAT(text(metadata_.number("inf")), HasSubstr("not a finite number"));
  EXPECT_THAT(text(metadata_.boolean("u8")), HasSubstr("must be a boolean"));
  EXPECT_THAT(text(metadata_.string("true")), HasSubstr("must be a string"));
  EXPECT_THAT(text(metadata_.integers("ints", 0, 9)), HasSubstr("-6 is outside"));
  EXPECT_THAT(text(metadata_.integers("words", 0, 9)), HasSubstr("must be an integer"));
  EXPECT_THAT(text(metadata_.integers("long", 0, 9)), HasSubstr("too long"));
}

TEST_F(MetadataTest, FirstElementsAreCut) {
  const auto& words = std::get<MetaArray>(*metadata_.find("words"));
  const auto cut = first_elements(words, 1, 2);
  ASSERT_EQ(cut.size(), 1U);
  EXPECT_EQ(std::get<std::string>(cut[0]), "on");
}

}  // namespace
}  // namespace farthing
