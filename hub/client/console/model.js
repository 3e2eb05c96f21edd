/**
 * What the page knows and does: one state, changed here alone, drawn by the views.
 *
 * M1. Each look asks for everything. What was not answered stays as it was, and the page says how old it is (an old screen must not look new).
 * M2. A credential that is no longer valid leads to the sign-in screen, whatever else is going on.
 * M3. A stop is followed to its end, even if the hub ends before it has answered.
 */
import { codeInAddress, follow, forget, Gone, join, kept, Refused, read, tell } from './line.js'
import { problemText } from './words.js'

/** @import { Act, Answer, Opened, Seen, State } from '../console-types/state.ts' */
/** @typedef {ReturnType<typeof createModel>} Model */

const LOOK_MS = 10_000
const RETRY_MS = 2000
const STOPPING_MS = 400
/** Events come in bursts. */
const NUDGE_MS = 300

/** @type {Readonly<Record<keyof Seen, string>>} */
const READS = {
  health: '/v1/health',
  presence: '/v1/presence',
  running: '/v1/tasks?state=running&limit=25',
  tasks: '/v1/tasks?limit=25',
  sessions: '/v1/sessions?limit=100',
  approvals: '/v1/approvals',
  alerts: '/v1/alerts',
  budget: '/v1/budget',
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
/** @param {unknown} thrown */
const reasonOf = (thrown) => (thrown instanceof Refused ? problemText(thrown.problem) : 'the hub does not answer')

/** @param {() => void} draw */
export function createModel(draw) {
  /** @type {State} */
  const state = {
    session: kept(),
    signedOut: '',
    isJoining: false,
    offsetMs: 0,
    seenAtMs: undefined,
    isGone: false,
    isLive: false,
    problem: '',
    seen: {},
    beat: { isBusy: false, answer: undefined, problem: '' },
    answers: {},
    acts: {},
    open: undefined,
    stop: undefined,
  }
  let wake = () => {}
  let run = 0

  /** @param {Partial<State>} patch */
  const change = (patch) => {
    Object.assign(state, patch)
    draw()
  }
  const nowMs = () => Date.now() + state.offsetMs
  /** Whether this page's own stop came to an end and was not refused. */
  const hasStopped = () => state.stop?.stage === 'ended' && state.stop.isRefused !== true
  /** @param {string} right */
  const can = (right) => state.session?.rights.includes(right) === true

  /** @param {string} why */
  function signOut(why) {
    forget()
    run += 1
    change({
      session: null,
      signedOut: why,
      seen: {},
      seenAtMs: undefined,
      isGone: false,
      isLive: false,
      stop: undefined,
      acts: {},
      open: undefined,
    })
  }
  /**
   * Whether the credential itself was refused.
   * @param {unknown} thrown
   */
  function isOver(thrown) {
    if (!(thrown instanceof Refused) || thrown.status !== 401) return false
    signOut('This console has ended: its time is over, or it was revoked.')
    return true
  }

  const secret = () => state.session?.secret
  /** A hub that does not answer is asked one question, not all of them. */
  const isBack = () =>
    read(secret(), READS.health).then(
      () => true,
      (thrown) => !(thrown instanceof Gone),
    )

  async function look() {
    const mine = run
    if (state.isGone && !(await isBack())) return
    const asked = Object.entries(READS)
    const said = await Promise.allSettled(asked.map(([, path]) => read(secret(), path)))
    if (mine !== run) return
    const failed = said.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
    if (failed.some(isOver)) return
    const isGone = failed.length === said.length && failed.every((reason) => reason instanceof Gone)
    /** @type {Seen} */
    const fresh = Object.fromEntries(
      said.flatMap((one, at) => (one.status === 'fulfilled' ? [[asked[at]?.[0], one.value]] : [])),
    )
    const seen = { ...state.seen, ...fresh }
    change({
      seen,
      isGone,
      problem: isGone || failed.length === 0 ? '' : reasonOf(failed[0]),
      seenAtMs: failed.length === 0 ? Date.now() : state.seenAtMs,
      offsetMs: fresh.presence === undefined ? state.offsetMs : fresh.presence.atMs - Date.now(),
      // A stopped hub that answers and is not stopping has been started again.
      stop: hasStopped() && !isGone && seen.health?.stopping === null ? undefined : state.stop,
    })
    followOpened()
  }

  /** Reads the opened task: when it is opened and when its state has changed, because each look at a log adds an audit record. */
  async function lookAtTask() {
    if (state.open === undefined) return
    const { id } = state.open
    /** @param {Partial<Opened>} patch */
    const mine = (patch) => state.open?.id === id && change({ open: { ...state.open, isBusy: false, ...patch } })
    change({ open: { ...state.open, isBusy: true } })
    try {
      const path = `/v1/tasks/${encodeURIComponent(id)}`
      const said = await Promise.all([read(secret(), path), read(secret(), `${path}/logs`)])
      const [{ task, money }, { lines }] = /** @type {[Answer<'task.show'>, Answer<'task.logs'>]} */ (said)
      mine({ task, money, lines, problem: '' })
    } catch (thrown) {
      if (!isOver(thrown)) mine({ problem: reasonOf(thrown) })
    }
  }
  /** The list knows of a change of the opened task first. */
  function followOpened() {
    const { open, seen } = state
    if (open?.task === undefined || open.isBusy) return
    const all = [...(seen.running?.tasks ?? []), ...(seen.tasks?.tasks ?? [])]
    const now = all.find(({ id }) => id === open.id)
    if (now !== undefined && (now.state !== open.task.state || now.held !== open.task.held)) lookAtTask()
  }

  async function looking() {
    const mine = run
    while (mine === run) {
      await look()
      const restMs = state.isGone || state.seen.health?.stopping ? RETRY_MS : LOOK_MS
      await Promise.race([pause(restMs), /** @type {Promise<void>} */ (new Promise((resolve) => (wake = resolve)))])
      if (mine === run && !state.isGone) await pause(NUDGE_MS)
    }
  }
  async function following() {
    const mine = run
    while (mine === run) {
      try {
        await follow(
          secret(),
          () => mine === run && wake(),
          () => mine === run && change({ isLive: true }),
        )
      } catch {}
      if (mine !== run) return
      change({ isLive: false })
      wake()
      await pause(RETRY_MS)
    }
  }
  function begin() {
    run += 1
    looking()
    following()
  }

  /** @param {string} code */
  async function enter(code) {
    run += 1
    change({ session: null, isJoining: true, signedOut: '', seen: {}, seenAtMs: undefined })
    try {
      change({ session: await join(code), isJoining: false })
      begin()
    } catch (thrown) {
      const why =
        thrown instanceof Gone
          ? 'The hub does not answer. Start it with `hub up`, then make a new link.'
          : thrown instanceof Refused && thrown.status === 429
            ? 'Too many wrong links were tried. Wait a minute, then make a new one.'
            : 'This link is not valid: each works once, for five minutes, and not after a restart of the hub.'
      change({ isJoining: false, signedOut: why })
    }
  }

  async function followStop() {
    while (state.stop?.stage === 'stopping') {
      try {
        const health = /** @type {Answer<'health.show'>} */ (await read(secret(), READS.health))
        if (health.stopping !== null && state.stop?.stage === 'stopping')
          change({ stop: { ...state.stop, ...health.stopping } })
      } catch {}
      await pause(STOPPING_MS)
    }
  }

  return {
    state,
    can,
    nowMs,
    hasStopped,
    start() {
      const code = codeInAddress()
      if (code !== undefined) return void enter(code)
      draw()
      if (state.session !== null) begin()
    },
    /** The link was opened in a tab that shows the page already. */
    addressChanged() {
      const code = codeInAddress()
      if (code !== undefined) enter(code)
    },
    retry: () => wake(),
    leave: () => signOut('You have left. This console ends by itself; `hub device revoke` ends it at once.'),
    async heartbeat() {
      if (state.beat.isBusy) return
      change({ beat: { isBusy: true, answer: undefined, problem: '' } })
      try {
        const answer = /** @type {Answer<'operator.heartbeat'>} */ (await tell(secret(), '/v1/heartbeat', {}))
        change({ beat: { isBusy: false, answer, problem: '' } })
      } catch (thrown) {
        if (isOver(thrown)) return
        const problem =
          thrown instanceof Gone ? `${reasonOf(thrown)}; in a terminal: \`hub heartbeat\`` : reasonOf(thrown)
        change({ beat: { isBusy: false, answer: undefined, problem } })
      }
      wake()
    },
    /**
     * @param {string} id
     * @param {boolean} approve
     * @param {string} text
     */
    async answer(id, approve, text) {
      change({ answers: { ...state.answers, [id]: { isBusy: true, problem: '' } } })
      try {
        await tell(secret(), `/v1/approvals/${encodeURIComponent(id)}/answer`, { approve, text })
        const left = (state.seen.approvals?.approvals ?? []).filter((one) => one.id !== id)
        change({ seen: { ...state.seen, approvals: { approvals: left } } })
      } catch (thrown) {
        if (isOver(thrown)) return
        change({ answers: { ...state.answers, [id]: { isBusy: false, problem: reasonOf(thrown) } } })
      }
      wake()
    },
    /**
     * The same operation as the command's, by this console's rights.
     * @param {string} name
     * @param {string} path
     * @param {object} body
     */
    async act(name, path, body) {
      /** @param {Act} one */
      const say = (one) => change({ acts: { ...state.acts, [name]: one } })
      if (state.acts[name]?.isBusy) return
      say({ isBusy: true, problem: '' })
      try {
        await tell(secret(), path, body)
        say({ isBusy: false, problem: '' })
      } catch (thrown) {
        if (isOver(thrown)) return
        say({ isBusy: false, problem: reasonOf(thrown) })
      }
      wake()
    },
    /**
     * Opens the task, or closes it if it is open.
     * @param {string} id
     */
    openTask(id) {
      const isOpen = state.open?.id === id
      change({ open: isOpen ? undefined : { id, isBusy: false, problem: '', task: undefined, money: null, lines: [] } })
      if (!isOpen) lookAtTask()
    },
    lookAtTask,
    askStop: () => change({ stop: { stage: 'ask' } }),
    keepRunning: () => change({ stop: undefined }),
    async stopEverything() {
      change({ stop: { stage: 'stopping', requested: 0, confirmed: 0 } })
      followStop()
      try {
        const said = await tell(secret(), '/v1/shutdown', { reason: 'asked for at the console' })
        const report = /** @type {Answer<'hub.shutdown'>} */ (said)
        change({ stop: { ...state.stop, stage: 'ended', report } })
      } catch (thrown) {
        if (isOver(thrown)) return
        change({
          stop: { ...state.stop, stage: 'ended', problem: reasonOf(thrown), isRefused: thrown instanceof Refused },
        })
      }
      wake()
    },
  }
}
