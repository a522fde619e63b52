#include "blip2/eval/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "blip2/eval/object_naming.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ObjectNaming, NamesAreWholeWords) {
  EXPECT_TRUE(names_object("a cat and a red apple", "a red apple"));
  EXPECT_TRUE(names_object("a cat", "a cat"));
  EXPECT_FALSE(names_object("a catfish", "a cat"));
  EXPECT_FALSE(names_object("a cat-like toy", "a cat"));
  EXPECT_FALSE(names_object("aa cat", "a cat"));
  EXPECT_TRUE(names_object("a catfish and a cat", "a cat"));
}

TEST(ObjectNaming, SharesOfPictures) {
  const NamingScores scores = naming_scores({"a cat and a dog", "a cat", "a cow"},
                                            {{"a cat", "a dog"}, {"a cat", "a dog"}, {"a cat", "a dog"}});
  EXPECT_NEAR(scores.both_objects, 1.0 / 3, 1e-12);
  EXPECT_NEAR(scores.at_least_one_object, 2.0 / 3, 1e-12);
  EXPECT_THROW(naming_scores({"a"}, {}), c10::Error);
}

Report example_report() {
  Report report;
  report.title = "cats & <dogs>";
  report.figures = {{"recall@1", "51.2 %"}};
  report.charts = {{"Stage 1", {{"contrastive", {1, 2, 3}, {4.0, 2.0, 1.0}}}}};
  const Image image{2, 2, {255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9}};
  report.captions = {{image, "a \"red\" cat", "a cat", false}};
  report.retrieval = {{image, "a cat", {{"a cat", 0.5}, {"a dog", 0.25}}}};
  report.attention = {{image, "a cat", {{"query 1", {1.0, 0.0, 0.0, 0.5}}}}};
  return report;
}

TEST(Report, EscapesTextAndLoadsNothing) {
  const std::string html = report_html(example_report());
  EXPECT_THAT(html, HasSubstr("cats &amp; &lt;dogs&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("<dogs>")));
  EXPECT_THAT(html, HasSubstr("a &quot;red&quot; cat"));
  EXPECT_THAT(html, HasSubstr("51.2 %"));
  EXPECT_THAT(html, Not(HasSubstr("http")));
  EXPECT_THAT(html, Not(HasSubstr("src=\"/")));
  EXPECT_THAT(html, HasSubstr("src=\"data:image/png;base64,iVBORw0KGgo"));
}

TEST(Report, ChartHoldsOnePointPerValue) {
  const std::string html = report_html(example_report());
  const auto start = html.find("points=\"") + 8;
  const std::string points = html.substr(start, html.find('"', start) - start);
  EXPECT_EQ(std::count(points.begin(), points.end(), ','), 3);
}

TEST(Report, TicksAreRoundNumbers) {
  Report report;
  report.charts = {{"Stage 1", {{"total", {1, 1796}, {10.2, 2.3}}}}};
  const std::string html = report_html(report);
  for (const char* tick : {">500<", ">1000<", ">1500<", ">5<", ">10<"}) EXPECT_THAT(html, HasSubstr(tick));
  EXPECT_EQ(html.find(">449"), std::string::npos);
  report.charts = {{"flat and broken", {{"total", {1, 1}, {INFINITY, NAN}}}}};
  EXPECT_THAT(report_html(report), HasSubstr("</svg>"));
}

TEST(Report, AnEmptyReportIsAPage) {
  EXPECT_THAT(report_html({}), HasSubstr("</html>"));
}

TEST(LossCurves, AveragesOverAWindowAndSkipsOtherLines) {
  const TemporaryFolder folder;
  const std::string log = (folder.path() / "log.jsonl").string();
  std::ofstream(log) << R"({"step":1,"loss":4.0,"losses":{"itc":2.0}})"
                     << "\n"
                     << R"({"step":2,"loss":2.0,"losses":{"itc":1.0}})"
                     << "\n"
                     << "not json\n"
                     << R"({"step":3,"loss":1.0,"losses":{"itc":null}})"
                     << "\n";
  const auto curves = loss_curves(log, 2);
  ASSERT_EQ(curves.size(), 2U);
  EXPECT_EQ(curves[0].name, "total");
  EXPECT_EQ(curves[0].steps, (std::vector<double>{1, 3}));
  EXPECT_EQ(curves[0].values, (std::vector<double>{3, 1}));
  EXPECT_EQ(curves[1].values, (std::vector<double>{1.5}));
  EXPECT_USER_ERROR(loss_curves((folder.path() / "none").string(), 2), "no such file");
}

}  // namespace
}  // namespace blip2
