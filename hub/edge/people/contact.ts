/** Builds all that belongs to the backup contact at the hub: operations, stop page, what the watchdog is told, what doctor says. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Guard } from '../../guard/guard.ts'
import { beginStop, type Shutdown, type StopRequest } from '../../work/dispatch/shutdown.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import { createContactChecks } from '../doctor/contact.ts'
import { singleHeader } from '../http-answers.ts'
import { contactHandlers, createContactNews } from '../routes/contact.ts'
import { barePage } from './bare-page.ts'
import type { ContactStop, StopCall } from './contact-stop.ts'
import { createContactStop } from './contact-stop.ts'
import type { LoopbackPlugin } from './loopback.ts'
import type { Reach } from './reach.ts'
import { clientWordIn } from './stop-proof.ts'

/**
 * Guessing has no end of its own: the alert is over after this long without more of it. The stop ends when the operator resumes
 * (guard-alerts.ts).
 */
const GUESSED_FOR_MS = 24 * 3_600_000
const stopBy = (reason: string): StopRequest => ({ drain: false, reason, exit: 'shutdown', by: 'contact' })

export function createContactEntrance(
  options: { reach: Reach; port: () => number; instance: string },
  outer: {
    clock: Clock
    random: Random
    log: Log
    guard: Guard
    ask: (path: string, body: object) => Promise<unknown>
    tasks: Tasks
    shutdown: Shutdown
  },
) {
  const { clock, random, log, guard, ask, tasks, shutdown } = outer
  const { contact, gate, modes, alerts } = guard
  const { publicUrl, trustedProxy } = options.reach
  const news = createContactNews({ contact, gate, ask, log })
  const contactStop = createContactStop({
    instance: options.instance,
    random,
    contact,
    gate,
    modes,
    clock,
    begin: (reason) => beginStop(modes, stopBy(reason)),
    stop: (grant, reason) => shutdown(grant, stopBy(reason)),
    progress: shutdown.progress,
    isAnythingLeft() {
      try {
        return tasks.sessionsOpen().length > 0
      } catch {
        // If that cannot be read, everything is stopped again.
        return true
      }
    },
    raise: (cause, text) => alerts.raise(cause, 'warning', text, cause === 'contact_stop' ? undefined : GUESSED_FOR_MS),
  })
  return {
    contactStop,
    news,
    /** Every other path of the loopback listener. */
    refuseElsewhere: ({ headers, routeOptions }: FastifyRequest) =>
      contactStop.refuseBearer(headers.authorization, routeOptions.url ?? 'an unknown path'),
    handlers: contactHandlers({ contact, ask, news, publicUrl, port: options.port }),
    plugin: stopForm({
      contactStop,
      publicHost: publicUrl === undefined ? undefined : new URL(publicUrl).host,
      trustedProxy,
      onReached: contact.noteReached,
    }),
    checks: createContactChecks({ contact, clock, news, publicUrl }),
  }
}

export type ContactEntrance = ReturnType<typeof createContactEntrance>

const BODY_BYTES_MAX = 4096
const PREFETCH_HEADERS = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'] as const

/** A browser, a mail program or a chat guesses at what its user will want. */
const isPrefetch = ({ headers }: FastifyRequest): boolean =>
  PREFETCH_HEADERS.some((name) => /prefetch|prerender|preview/i.test(String(headers[name] ?? '')))

/**
 * `/stop` and `/stop/<words>` on the loopback listener. Only this path takes a form instead of JSON, because a page without a script can
 * send nothing else. All its answers are pages; contact-stop.ts decides what they say.
 */
function stopForm(parts: {
  contactStop: ContactStop
  /** The Host that the outside uses. A request with it proves that the address leads here. */
  publicHost: string | undefined
  trustedProxy: boolean
  onReached: () => void
}): LoopbackPlugin {
  const { contactStop, publicHost, trustedProxy, onReached } = parts

  /** The proxy adds the address that it heard at the end of the list. Anybody may have written what comes before. */
  function sourceOf(request: FastifyRequest): string {
    const heard = trustedProxy ? singleHeader(request.raw, 'x-forwarded-for')?.split(',').at(-1)?.trim() : undefined
    return (heard ?? request.ip).slice(0, 64)
  }

  function callOf(request: FastifyRequest): StopCall {
    const [path = ''] = (request.raw.url ?? '').split('?', 1)
    const form = new URLSearchParams(typeof request.body === 'string' ? request.body : '')
    return {
      method: request.method as StopCall['method'],
      // As it was sent: another spelling of the same path is not the card's.
      path: path === '/stop' ? undefined : path.startsWith('/stop/') ? path.slice('/stop/'.length) : '',
      typed: form.get('words') ?? undefined,
      once: form.get('once') ?? undefined,
      client: clientWordIn(form),
      isPrefetch: isPrefetch(request),
      source: sourceOf(request),
    }
  }

  async function answer(request: FastifyRequest, reply: FastifyReply) {
    const { status, headers, html } = await contactStop.answer(callOf(request))
    if (publicHost !== undefined && singleHeader(request.raw, 'host') === publicHost) onReached()
    return reply.code(status).headers(headers).send(html)
  }

  return barePage({ path: '/stop', urls: ['/stop', '/stop/*'], bodyBytesMax: BODY_BYTES_MAX }, answer)
}
