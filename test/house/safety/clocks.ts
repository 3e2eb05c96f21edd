/** 9. Clocks: which one answers what, and what a step, a sleep and a reboot do. */
import type { Row } from './row.ts'

const DEGRADED = 'scenarios/degraded.test.ts'
const OWNERS = 'hub/guard/conditions/owners.test.ts'
const JUDGES = 'hub/guard/conditions/judges.test.ts'
const LEASE = 'hub/guard/lease.test.ts'
const ENDING = 'scenarios/ending.test.ts'
const JUDGE = 'watchdog/judge.test.ts'
const TIMELINE = 'watchdog/timeline.test.ts'
const LAWS = 'watchdog/presence-laws.test.ts'
const NONCES = 'hub/guard/identity/nonces.test.ts'

export const rows: readonly Row[] = [
  {
    rule: 'clocks are read in one place of each program, and no other file asks the system for the time',
    proofs: [['house/shape.test.ts', 'allows each banned call in its one place, and only there']],
  },
  {
    rule: 'tokens and people go by the wall clock, as far as it is plausible',
    proofs: [
      [JUDGES, '%s (a wall clock)'],
      ['scenarios/credentials.test.ts', 'without renewal a token is good for 5 min and 30 s more, and then refused'],
      [TIMELINE, '%j at %s is due %s: in %d h (%s)'],
    ],
  },
  {
    rule: 'the time to live goes by boot time: no step of the wall ends or prolongs a session, a sleep counts',
    proofs: [
      [ENDING, 'a wall clock stepped %s neither ends nor prolongs a session (T71)'],
      [ENDING, 'a suspended machine finds the time used up when it wakes'],
      [JUDGE, 'T71, T72: a wall step of ten years either way neither kills nor prolongs'],
      [JUDGE, 'T73: a suspend counts for the time to live'],
    ],
  },
  {
    rule: 'the lease goes by boot time, a sleep included',
    proofs: [
      [LEASE, 'lapses after three intervals by the boot clock, suspend included'],
      [LEASE, 'neither lapses nor lives longer by steps of the wall clock'],
    ],
  },
  {
    rule: 'heartbeat and ceiling go by boot time: steps of the wall neither shorten nor reset them',
    proofs: [
      [JUDGE, 'T95: reboots every hour and wall steps neither shorten nor reset it'],
      [TIMELINE, 'T95: the same over a restart each hour, a reboot each hour, and both clocks stepping'],
      [LAWS, '%s: no order of events moves safe mode or the stop out of their bounds'],
    ],
  },
  {
    rule: 'a sleep or a stall of the loop is told apart by the monotonic clock',
    proofs: [
      [JUDGES, '%s (between two ticks)'],
      [OWNERS, 'a sleep is noticed at the first look, once, and is no stall'],
      [OWNERS, 'a stall of thirty seconds is detected'],
    ],
  },
  {
    rule: 'boot id, boot time and wall are persisted; within one boot the difference of boot time is what passed',
    proofs: [
      [LAWS, '%s: no order of events moves safe mode or the stop out of their bounds'],
      ['scenarios/backlog.test.ts', 'a wall clock stepped %s within one boot neither makes nor ends a long rest'],
      [NONCES, 'takes nothing early because of a restart after a jump'],
    ],
  },
  {
    rule: 'in a new boot the difference of the wall is what passed, never less than nothing nor than this boot has lasted',
    proofs: [
      [JUDGE, 'T74: a reboot with a clock of 1970 counts what this boot has lasted and no more'],
      [TIMELINE, 'T74: boots with a clock of 1970 neither reset nor stretch it'],
      [TIMELINE, 'T74: a new boot ten years ahead is safe mode at once'],
      [JUDGES, '%s (a wall clock)'],
    ],
  },
  {
    rule: 'a wall below the mark that was reached is `clock_fault`, at once also at a start, until it has passed the mark',
    proofs: [
      [OWNERS, 'never goes back: a step of an hour raises clock_fault'],
      [OWNERS, 'in another boot with the clock of 1970 nothing is trusted until it passes the mark'],
      [DEGRADED, 'a start with the clock below the mark takes no work until the clock passes it'],
      [JUDGE, 'T74: a reboot with a clock of 1970 counts what this boot has lasted and no more, and says so'],
    ],
  },
  {
    rule: 'at boot hub and watchdog are started after time sync',
    proofs: [['scripts/systemd.test.ts', 'writes the units of this checkout and home, after Docker and time sync']],
  },
  {
    rule: 'after a sleep what is over is ended first, and only then is traffic taken',
    proofs: [
      [DEGRADED, 'after a sleep what ended is ended, and a passed deadline is safe mode, before any message'],
      [DEGRADED, 'a signed request that is the first to come after a sleep finds its session ended'],
    ],
  },
  {
    rule: 'what expires goes by the later of wall and mark: a step back makes nothing valid again',
    proofs: [
      [DEGRADED, 'a clock stepped back an hour revives no token and prolongs no container'],
      [OWNERS, 'never goes back: a step of an hour raises clock_fault and it runs on'],
      ['scenarios/contact.test.ts', 'S1-31: the card does not come back to life with a wall clock that goes back'],
      ['hub/guard/identity/deny-list.test.ts', 'outlives a step of the wall clock either way'],
    ],
  },
  {
    rule: 'a jump ahead ends nothing early and nothing is renewed on its word',
    proofs: [
      [OWNERS, 'a jump of ten years ahead is not followed, over a restart neither'],
      [DEGRADED, 'a clock ten years ahead kills nobody and renews nothing'],
    ],
  },
  {
    rule: 'purging never trusts a jump ahead',
    proofs: [
      [NONCES, 'takes nothing early though the wall clock jumps ten years and back'],
      [NONCES, 'takes nothing early because of a restart after a jump'],
      ['hub/guard/identity/deny-list.test.ts', 'outlives a step of the wall clock either way'],
    ],
  },
  {
    rule: 'between the processes only spans are compared, never instants',
    proofs: [
      ['watchdog/lease.test.ts', 'an honest hub is heard; the lease is the document of the contract'],
      [LEASE, 'neither lapses nor lives longer by steps of the wall clock'],
      [LEASE, "(away) names the end of the absence by this process's own clock"],
    ],
  },
]
