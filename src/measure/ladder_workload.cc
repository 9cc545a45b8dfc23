#include "measure/ladder_workload.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "base/check.h"

namespace farthing {
namespace {

constexpr std::string_view kAssistant =
    "You are a careful and friendly assistant. Answer in plain words and in whole sentences. Say "
    "when you are not sure, and never invent a source. If a question can be understood in two "
    "ways, say which one you answer. Keep the answer short unless somebody asks for more, begin "
    "with the result, and explain it afterwards with one example from daily life. Use metric "
    "units. Do not repeat the question, do not apologise, and do not praise the person who asks. "
    "If the person writes in another language than English, answer in that language.\n\n";

constexpr std::string_view kRestaurant =
    "You answer customers of a restaurant service. Orders can be changed until the kitchen has "
    "begun to cook. Delivery takes 30 to 45 minutes; it is free above 25 dollars and costs 3.50 "
    "dollars below. A dish that comes cold or wrong is paid back in full within five days. Tables "
    "are held for 15 minutes. Allergies must be named with the order. Gift cards are valid for "
    "three years and can be used in several parts. A complaint about a driver goes to a person. "
    "Ask for the number of the order if it is missing, and end with what happens next.\n\n";

constexpr std::string_view kReport =
    "Report of the harbour office for the third quarter. In July 214 ships came in, 31 of them "
    "under a foreign flag, and 198 left. The mean stay was two days and seven hours. Pier four was "
    "closed for nineteen days because its crane had to be repaired, which cost 412,000 euros. "
    "Grain was the largest cargo with 88,000 tonnes, then timber with 41,500 and machines with "
    "12,300. In August a storm broke two moorings; nobody was hurt, and the insurance paid 60 per "
    "cent of the damage. The number of containers rose from 5,140 to 5,980. Fees were raised by "
    "two per cent on the first of September, after eleven years without a change. The pilots asked "
    "for a second boat, and the council will decide in November. Water depth at the entrance is "
    "9.4 metres at low tide. Dredging begins in spring and is going to take ten weeks. Forty-two "
    "apprentices began their training, nine more than the year before.\n";

constexpr std::string_view kListing =
    "def read_orders(path):\n"
    "    orders = []\n"
    "    with open(path) as lines:\n"
    "        for line in lines:\n"
    "            number, customer, amount = line.strip().split(',')\n"
    "            orders.append({'number': int(number), 'customer': customer, 'amount': "
    "float(amount)})\n"
    "    return orders\n\n"
    "def total_by_customer(orders):\n"
    "    totals = {}\n"
    "    for order in orders:\n"
    "        name = order['customer']\n"
    "        totals[name] = totals.get(name, 0.0) + order['amount']\n"
    "    return totals\n\n"
    "def largest(totals, n):\n"
    "    rows = sorted(totals.items(), key=lambda row: row[1], reverse=True)\n"
    "    return rows[:n]\n\n";

constexpr std::string_view kQuestions[] = {
    "Why does bread rise, and what happens if I forget the yeast? ",
    "I have three hours in a town that I do not know. How should I spend them? ",
    "Explain to a child of eight why the moon changes its shape. ",
    "Write a short letter to my neighbour about the noise of his drill on Sunday mornings. ",
    "What is the difference between weather and climate? ",
    "My plant has yellow leaves although I water it every day. What do I do wrong? ",
    "Give me four names for a small shop that repairs bicycles. ",
    "How do I calculate the interest on a loan of two thousand that runs for three years? ",
    "Please translate the sentence 'The train is late again' into two other languages. ",
    "Which of the two is older, the wheel or writing, and how do we know? ",
    "I sleep badly before exams. Which three habits could help? ",
    "Plan a dinner for six people, one of whom eats no meat and one no nuts. ",
};

constexpr std::string_view kComplaints[] = {
    "My order number 4711 should have been here an hour ago. Where is it? ",
    "The soup came cold and the bread was missing. I want my money back. ",
    "Can I change my order from two pizzas to three? I ordered five minutes ago. ",
    "I would like a table for seven people on Friday evening, near the window. ",
    "Is there any dish without gluten, and how do you keep the kitchen clean of it? ",
    "The driver was rude to my mother. Who do I talk to? ",
    "How much of my gift card is left, and can I use the rest for a delivery? ",
    "I was charged twice for the same order. Please look at it. ",
};

constexpr std::string_view kLookups[] = {
    "How many ships came in during July? ",
    "What did the repair of the crane cost? ",
    "How much deeper would the entrance have to be for a ship that needs ten metres? ",
    "Which cargo was the second largest, and how large was it? ",
    "Since when had the fees not been changed? ",
    "How many apprentices began in the year before? ",
};

constexpr std::string_view kEdits[] = {
    "Write the file again, but let read_orders skip empty lines. ",
    "Write the file again, but give every function a docstring. ",
    "Write the file again, but call the field 'amount' 'euros' everywhere. ",
    "Write the file again, but let largest return names only. ",
    "Write the file again, but raise an error if an amount is negative. ",
};

constexpr std::string_view kArticles[] = {
    "The council met on Tuesday to speak about the bridge. Its northern arch has cracks that were "
    "first seen four years ago. ",
    "An engineer said that lorries should take the other road until spring. ",
    "Two shopkeepers fear for their business, because most of their customers come by car. ",
    "The mayor promised a ferry for people on foot, and a bus every twenty minutes. ",
    "Repairing the arch would cost nine million, a new bridge thirty-one. ",
    "Nobody could say who pays, and the vote was put off until March. ",
    "Summarise this text in one sentence. ",
};

constexpr LadderWorkload kWorkloads[] = {
    {.id = "chat",
     .title = "chat: people ask, under one system prompt",
     .source =
         "LMSYS-Chat-1M (Zheng et al., arXiv:2309.11998): prompts of 69.5 tokens in the mean, "
         "answers of 214.5; answers here are a quarter as long, so that a round takes seconds",
     .n_requests = 12,
     .n_clients = 6,
     .n_shared = 128,
     .prompt = {.median = 48, .sigma = 0.85, .least = 8, .most = 320},
     .answer = {.median = 46, .sigma = 0.55, .least = 8, .most = 128},
     .temperature = 0.7f,
     .slo_ttft = 2,
     .slo_tpot = 0.1,
     .opening = kAssistant,
     .phrases = kQuestions},
    {.id = "rag",
     .title = "rag: short answers from one long document",
     .source = "Azure LLM inference trace 2023, conversation (Patel et al., Splitwise, ISCA 2024): "
               "prompts of 1,020 tokens in the median, answers of 129; answers here are a fifth as "
               "long",
     .n_requests = 8,
     .n_clients = 4,
     .n_shared = 960,
     .prompt = {.median = 60, .sigma = 0.5, .least = 16, .most = 160},
     .answer = {.median = 24, .sigma = 0.5, .least = 8, .most = 64},
     .slo_ttft = 5,
     .slo_tpot = 0.1,
     .opening = kReport,
     .phrases = kLookups},
    {.id = "code",
     .title = "code: a file is written again with a change",
     .source = "Azure LLM inference trace 2023, code (Patel et al., Splitwise, ISCA 2024): prompts "
               "of 1,500 tokens in the median; a third of that here. Its answers are 13 tokens "
               "(completions); those of edits are as long as what is edited, here 96",
     .n_requests = 6,
     .n_clients = 2,
     .n_shared = 448,
     .prompt = {.median = 48, .sigma = 0.4, .least = 16, .most = 120},
     .answer = {.median = 96, .sigma = 0.3, .least = 48, .most = 160},
     .slo_ttft = 3,
     .slo_tpot = 0.1,
     .opening = kListing,
     .phrases = kEdits},
    {.id = "batch",
     .title = "batch: summaries over night, only throughput counts",
     .source =
         "CNN/DailyMail (See et al., ACL 2017): articles of 781 tokens in the mean, summaries "
         "of 56; articles here are a quarter as long",
     .n_requests = 16,
     .n_clients = 16,
     .prompt = {.median = 190, .sigma = 0.3, .least = 64, .most = 400},
     .answer = {.median = 52, .sigma = 0.3, .least = 24, .most = 96},
     .opening = {},
     .phrases = kArticles},
    {.id = "toast",
     .title = "toast: the chapter's customer service, 500,000 queries a day",
     .source = "the chapter's case; lengths as chat's (LMSYS-Chat-1M, arXiv:2309.11998), answers a "
               "fifth as long",
     .n_requests = 16,
     .n_clients = 8,
     .n_shared = 128,
     .prompt = {.median = 32, .sigma = 0.6, .least = 8, .most = 128},
     .answer = {.median = 40, .sigma = 0.4, .least = 12, .most = 96},
     .temperature = 0.7f,
     .slo_ttft = 2,
     .slo_tpot = 0.1,
     .queries_per_day = 500000,
     .opening = kRestaurant,
     .phrases = kComplaints},
};

// The standard's distributions differ among libraries: Box and Muller's (1958) doesn't.
double normal(std::mt19937_64& random) {
  constexpr double kTwoPi = 6.283185307179586;
  const auto unit = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
  const double radius = std::sqrt(-2 * std::log(unit()));
  return radius * std::cos(kTwoPi * unit());
}

int32_t length(const LengthDistribution& d, std::mt19937_64& random) {
  const double tokens = d.median * std::exp(d.sigma * normal(random));
  return static_cast<int32_t>(
      std::clamp(std::round(tokens), double{1} * d.least, double{1} * d.most));
}

int32_t scaled(int32_t n, double factor, int32_t least) {
  return n == 0 ? 0
                : std::clamp(static_cast<int32_t>(std::ceil(n * factor)), std::min(n, least), n);
}

// `n` tokens of text that `next` gives piece by piece.
template <class Next>
Result<std::vector<TokenId>> tokens_of(const Tokenizer& tokenizer, int32_t n, Next next) {
  std::string text;
  std::vector<TokenId> tokens;
  // A piece is a token at least, or the tokenizer is of no use.
  for (int32_t i = 0; static_cast<int32_t>(tokens.size()) < n; ++i) {
    if (i > n) return usage_error("this model's tokenizer makes nothing of plain English");
    text += next();
    if (text.size() < static_cast<size_t>(n)) continue;  // a token is a byte at least
    FARTHING_TRY(tokens, tokenizer.encode(text, {.add_special = false}));
  }
  tokens.resize(static_cast<size_t>(n));
  return tokens;
}

}  // namespace

std::span<const LadderWorkload> all_workloads() {
  return kWorkloads;
}

const LadderWorkload* find_workload(std::string_view id) {
  const auto* at = std::ranges::find(kWorkloads, id, &LadderWorkload::id);
  return at == std::end(kWorkloads) ? nullptr : at;
}

LadderRequest LadderRequest::cut(double lengths) const {
  CHECK(lengths > 0 && lengths <= 1);
  const int32_t n_own = static_cast<int32_t>(prompt.size()) - n_shared;
  LadderRequest out{.n_shared = scaled(n_shared, lengths, 1),
                    .n_answer = scaled(n_answer, lengths, 2),
                    .seed = seed};
  out.prompt.assign(prompt.begin(), prompt.begin() + out.n_shared);
  const auto own = prompt.begin() + n_shared;
  out.prompt.insert(out.prompt.end(), own, own + scaled(n_own, lengths, 1));
  return out;
}

Result<LadderRequests> make_requests(const LadderWorkload& workload,
                                     const Tokenizer& tokenizer,
                                     int32_t context,
                                     uint64_t seed) {
  std::vector<TokenId> shared;
  if (workload.n_shared > 0) {
    FARTHING_TRY(shared, tokens_of(tokenizer, workload.n_shared, [&] {
                   return std::string(workload.opening);
                 }));
  }
  LadderRequests made;
  int32_t longest = 0;
  for (int32_t i = 0; i < workload.n_requests; ++i) {
    std::seed_seq parts{
        static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), static_cast<uint32_t>(i)};
    std::mt19937_64 random(parts);
    LadderRequest request{.n_shared = workload.n_shared, .seed = random()};
    const int32_t n_own = length(workload.prompt, random);
    request.n_answer = length(workload.answer, random);
    FARTHING_TRY(const std::vector<TokenId> own, tokens_of(tokenizer, n_own, [&] {
                   return std::string(workload.phrases[random() % workload.phrases.size()]);
                 }));
    request.prompt = shared;
    request.prompt.insert(request.prompt.end(), own.begin(), own.end());
    if (tokenizer.adds_bos()) request.prompt.front() = tokenizer.bos();
    longest = std::max(longest, static_cast<int32_t>(request.prompt.size()) + request.n_answer);
    made.requests.push_back(std::move(request));
  }
  if (context < 8) return usage_error("--ctx {}: a ladder needs 8 tokens at least", context);
  // Each of three parts may be rounded up.
  constexpr int32_t kRounding = 4;
  if (longest + kRounding > context) {
    made.shrunk = std::max(1.0, double{1} * (context - kRounding)) / longest;
    for (LadderRequest& request : made.requests) request = request.cut(made.shrunk);
  }
  return made;
}

}  // namespace farthing
