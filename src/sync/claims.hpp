#pragma once
// Shares that participants have in objects, recorded on the holder's side, so that what a dead one had can be given back.
//
// A claim is one entry of a table in the session page. Its state says how far its participant had come; where a number in
// the object changes together with it, the object names the claim that changed it last, and whoever changes it next first
// completes that claim (as in "helping": Herlihy, Wait-free synchronization, 1991). So a death between the two steps is no
// doubt: a claim under way was counted if the object names it, or if somebody has completed it.
#include <cstdint>

#include "sync/session.hpp"

namespace tandem::sync {

enum class claim_step : std::uint32_t {
  idle,      // its participant keeps it for the next time
  attached,  // a party of a barrier; a process that was handed memory, or has paid a latch in it
  taking,    // the count was taken if the object names this claim
  held,      // a count is taken
  giving,    // the count was given back if the object names this claim
  pushing,   // a process that pushes into a queue
};
constexpr std::uint32_t claim_step_bits = 3;
constexpr std::uint32_t claim_step_mask = (1U << claim_step_bits) - 1;

constexpr claim_step step_of(std::uint32_t state) noexcept { return claim_step{state & claim_step_mask}; }
/// The same claim, used for the how many-th time, at another step.
constexpr std::uint32_t with_step(std::uint32_t state, claim_step step) noexcept {
  return (state & ~claim_step_mask) | static_cast<std::uint32_t>(step);
}
constexpr std::uint32_t next_use(std::uint32_t state, claim_step step) noexcept {
  return with_step(state + (1U << claim_step_bits), step);
}

/// A claim of the calling thread on the object with that number, idle; it has an index. If there are no others, that of one
/// who has died and has nothing in its hands: what waits for news of it gets none then. Errors: resource_exhausted.
std::uint32_t take_claim(std::uint64_t object);
std::uint32_t take_claim_for(std::uint32_t owner, std::uint64_t object);
void free_claim(std::uint32_t index) noexcept;
/// Frees one on that object that is attached or pushing, if it is of this process, and not of one that it is a copy of.
void end_attachment(std::uint32_t index, std::uint64_t object) noexcept;
/// Frees all of those: the object is gone.
void end_attachments(std::uint64_t object) noexcept;
/// The same after the share was given back that it held in that state; not if it is another's by now.
void free_claim_after(std::uint32_t index, std::uint32_t held) noexcept;
/// The calling thread's claim on that object at that step; 0: it has none.
std::uint32_t own_claim(std::uint64_t object, claim_step) noexcept;
/// From now on found fast by own_claim().
void remember_claim(std::uint64_t object, std::uint32_t index) noexcept;
/// The number of an object, given to it on first need.
std::uint64_t number_of(std::atomic<std::uint64_t>& number);

/// Whether that participant has a claim on that object.
bool has_claim(std::uint32_t owner, std::uint64_t object) noexcept;
/// From now on that process is one of the parties of the object, until it ends, or lets go of it; gives its claim, or 0 if
/// it is one already. Errors: resource_exhausted.
std::uint32_t join_party(std::uint32_t process, std::uint64_t object);
enum class party_end {
  none,    // there was no party, or the last one ended in order
  alive,   // there is one
  killed,  // there is none, and the last one was killed
};
/// What has become of the parties; the killed ones are forgotten while others are there.
party_end end_of_parties(std::uint64_t object) noexcept;

}  // namespace tandem::sync
