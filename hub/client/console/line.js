/** The line to the hub: its public API with this console's bearer, which is kept for this tab alone and goes nowhere else (T33). */

/** @import { Problem, Session } from '../console-types/state.ts' */

const KEPT = 'hub-console'
const READ_MS = 10_000

/** The hub said no; `problem` is its RFC 9457 document. */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {Problem} problem
   */
  constructor(status, problem) {
    super(`refused with ${status}`)
    this.status = status
    this.problem = problem
  }
}
/** Nobody answered. */
export class Gone extends Error {}

/**
 * @param {'GET' | 'POST'} method
 * @param {string} path
 * @param {{ secret?: string | undefined, body?: unknown, signal?: AbortSignal }} more
 * @returns {Promise<unknown>}
 */
async function ask(method, path, { secret, body, signal } = {}) {
  let status
  let text
  try {
    const answer = await fetch(path, {
      method,
      headers: {
        accept: 'application/json',
        ...(secret === undefined ? {} : { authorization: `Bearer ${secret}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
    })
    status = answer.status
    text = await answer.text()
  } catch {
    throw new Gone('the hub does not answer')
  }
  let said
  try {
    said = JSON.parse(text)
  } catch {
    throw new Gone('another program answers here')
  }
  if (status >= 400) throw new Refused(status, /** @type {Problem} */ (said))
  return said
}

/** @type {(secret: string | undefined, path: string) => Promise<unknown>} */
export const read = (secret, path) => ask('GET', path, { secret, signal: AbortSignal.timeout(READ_MS) })
/**
 * Without a time limit: a stop takes as long as it takes.
 * @type {(secret: string | undefined, path: string, body: unknown) => Promise<unknown>}
 */
export const tell = (secret, path, body) => ask('POST', path, { secret, body })

/**
 * Exchanges the code of a one-time link for a session of this tab.
 * @param {string} code
 */
export async function join(code) {
  const session = /** @type {Session} */ (await ask('POST', '/console/session', { body: { code } }))
  sessionStorage.setItem(KEPT, JSON.stringify(session))
  return session
}
/** @returns {Session | null} */
export function kept() {
  try {
    const session = JSON.parse(sessionStorage.getItem(KEPT) ?? 'null')
    return typeof session?.secret === 'string' && Array.isArray(session.rights) ? session : null
  } catch {
    return null
  }
}
export const forget = () => sessionStorage.removeItem(KEPT)

/** Takes the code out of the address and so out of the history; undefined if there is none. */
export function codeInAddress() {
  const code = location.hash.slice(1)
  if (code === '') return undefined
  history.replaceState(null, '', location.pathname)
  return code
}

/** Only new events: a look shows everything that past ones changed. */
const FROM_NOW = Number.MAX_SAFE_INTEGER

/**
 * Calls `onEvent` whenever something happened, until the stream ends; events are a nudge to look, so what they hold is not read.
 * @param {string | undefined} secret
 * @param {() => void} onEvent
 * @param {() => void} onOpen
 */
export async function follow(secret, onEvent, onOpen) {
  const answer = await fetch(`/v1/events?since=${FROM_NOW}`, {
    headers: { accept: 'text/event-stream', authorization: `Bearer ${secret}` },
    cache: 'no-store',
    credentials: 'omit',
    redirect: 'error',
  })
  if (!answer.ok || answer.body === null) throw new Gone('no events')
  onOpen()
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    if (value.includes('data:')) onEvent()
  }
}
