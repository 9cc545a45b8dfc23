// Guesses at the tokens that sequences go on with. The model computes them all in one step and
// keeps those that it would have chosen itself (Leviathan, Kalman, Matias, arXiv:2211.17192): what
// comes out is the same, bit for bit, and only the number of steps differs.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/cache_salt.h"
#include "core/sequence.h"
#include "sched/draft_control.h"

namespace farthing {

// What a running sequence is guessed to go on with. Its tokens end with the guesses, n_draft of
// them, for the one step that computes them.
struct Draft {
  Sequence* sequence = nullptr;
  CacheSalt salt;
  DraftControl* control = nullptr;
  int32_t most = 0;   // guesses; its blocks have room for them
  int32_t left = 0;   // tokens that the sequence may still get
  double unread = 0;  // seconds that reading takes what the drafter hasn't read of it
  // A guess that is right, with all before it, less likely than this isn't worth making.
  double least = 0;
  std::array<uint8_t, kMostDraft> classes{};  // of each guess

  int32_t size() const { return sequence->n_draft; }
  std::span<const uint8_t> guessed() const {
    return std::span(classes).first(static_cast<size_t>(size()));
  }
  void push(TokenId token, int32_t draft_class) {
    classes[static_cast<size_t>(sequence->n_draft++)] = static_cast<uint8_t>(draft_class);
    sequence->tokens.push_back(token);
  }
  // Keeps the first n guesses.
  void cut(int32_t n) {
    sequence->tokens.resize(static_cast<size_t>(sequence->size() + n));
    sequence->n_draft = n;
  }
};

class Drafter {
 public:
  virtual ~Drafter() = default;
  // Puts up to `most` guesses behind the tokens of each; nobody has any yet. It may take `spare`
  // seconds more to read what it hasn't read of them.
  virtual void guess(std::span<Draft* const> drafts, double spare) = 0;
  // What guess() is going to take, in seconds: a pass gives one guess more to each sequence that it
  // is for. Also fills in `unread`.
  struct Cost {
    double pass = 0;
    double sequence = 0;  // in a pass
    bool nothing() const { return pass <= 0 && sequence <= 0; }
  };
  virtual Cost cost(std::span<Draft* const> /*drafts*/) { return {}; }
  virtual double spent() const { return 0; }  // by the last guess()
  // The sequence has lost its blocks or ended.
  virtual void forget(SequenceId id) = 0;
  // This one is complete, and others of its salt may learn from it.
  virtual void learn(const Sequence& /*sequence*/, CacheSalt /*salt*/) {}
};

}  // namespace farthing
