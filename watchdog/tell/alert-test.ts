/**
 * A test of every channel, for `hub alert test`, `hub contact test` and the drill: past the outbox, all channels at once, each
 * within its deadline. The answer says for each whether it took the message, why not, and how long it took. One test at a time.
 * A rehearsal for the contact is sent only by day: by night, or in their quiet hours, it is refused.
 */

import type { Clock } from '../base/clock.ts'
import { nextLocalTime } from '../base/local-time.ts'
import { quietSpanAt } from '../base/quiet-hours.ts'
import type { Config } from '../config/config.ts'
import type { Letter, Post } from './channels/letter.ts'
import type { Route } from './delivery.ts'
import { noticeLetter } from './notices/letter.ts'
import { whenText } from './operator-letter.ts'

export interface TestRequest {
  readonly who: 'operator' | 'contact' | 'both'
  /** The contact gets `test` (with a code to read out) or `rehearsal`. */
  readonly kind: 'test' | 'rehearsal'
  readonly code: string
}

export interface Tested {
  readonly who: 'operator' | 'contact'
  readonly channel: string
  readonly kind: string
  readonly ok: boolean
  readonly why: string
  readonly ms: number
}

/** The whole test ends within this time, whatever a channel does. */
const TEST_MS_MAX = 12_000
/** Characters of the reason why a channel did not take it. */
const WHY_MAX = 600
const DAY_FROM_MINUTE = 9 * 60
const DAY_TO_MINUTE = 20 * 60

export type AlertTest = (request: TestRequest) => Promise<{ readonly channels: readonly Tested[] } | string>

/** Whether it is day for the contact: from 9 to 20 o'clock of their zone, outside their quiet hours. */
export function isDay(wallMs: number, contact: Config['contact']): boolean {
  const toMs = nextLocalTime(wallMs + 1, [DAY_TO_MINUTE], contact.zone)
  const fromMs = nextLocalTime(wallMs + 1, [DAY_FROM_MINUTE], contact.zone)
  return toMs < fromMs && quietSpanAt(wallMs, contact) === null
}

export function createAlertTest(
  options: { instance: string; config: Pick<Config, 'operator' | 'contact'> },
  parts: { clock: Clock; operator: readonly Route[]; contact: readonly Route[] },
): AlertTest {
  const { instance, config } = options
  const { clock } = parts
  let running = false

  function operatorTest(id: string): Letter {
    const { wallMs } = clock.read()
    const text = `This is a test of the watchdog's channels, requested on ${whenText(wallMs, config.operator.zone)}. Nothing is wrong.`
    return {
      id,
      instance,
      severity: 'info',
      subject: 'hub watchdog, test: nothing is wrong',
      text: `${text}\n\nInstance ${instance}\n`,
      alerts: [
        {
          name: 'test',
          status: 'resolved',
          severity: 'info',
          text,
          startsAtMs: wallMs,
          endsAtMs: wallMs,
          fingerprint: id,
        },
      ],
    }
  }

  function contactTest(id: string, { kind, code }: TestRequest): Letter {
    const { wallMs } = clock.read()
    const notice = { kind, step: kind, lastSeenAtMs: null, nextAtMs: null, unconfirmed: 0, note: code }
    return noticeLetter({ id, notice, severity: 'warning', wallMs }, { instance, ...config }, wallMs)
  }

  function tryOne(who: Tested['who'], { label, kind, deliver, deadlineMs }: Post, letter: Letter): Promise<Tested> {
    const startedMs = clock.read().monotonicMs
    return new Promise((resolve) => {
      const limitMs = Math.min(deadlineMs, TEST_MS_MAX)
      const cancel = clock.after(limitMs, () => say(false, `it took longer than ${limitMs} ms`))
      function say(ok: boolean, why: string): void {
        cancel()
        resolve({ who, channel: label, kind, ok, why, ms: clock.read().monotonicMs - startedMs })
      }
      deliver(letter).then(
        () => say(true, ''),
        (error: Error) => say(false, error.message.slice(0, WHY_MAX)),
      )
    })
  }

  return async (request) => {
    const { who, kind } = request
    const { wallMs } = clock.read()
    if (running) return 'a test is under way; wait for its answer'
    if (who !== 'operator' && parts.contact.length === 0) return 'no contact is set up; run: hub setup'
    if (who !== 'operator' && kind === 'rehearsal' && !isDay(wallMs, config.contact))
      return `it is not day for ${config.contact.name}; a rehearsal is sent only between 09:00 and 20:00, outside quiet hours`
    running = true
    try {
      const id = `test-${wallMs}`
      const own = who === 'contact' ? [] : parts.operator.map(({ post }) => tryOne('operator', post, operatorTest(id)))
      const theirs =
        who === 'operator' ? [] : parts.contact.map(({ post }) => tryOne('contact', post, contactTest(id, request)))
      return { channels: await Promise.all([...own, ...theirs]) }
    } finally {
      running = false
    }
  }
}
