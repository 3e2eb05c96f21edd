/**
 * What the page knows and does: one state, changed here alone, drawn by the views.
 *
 * M1. Every look asks everything; what could not be had stays as it was, and the page says since when (an old screen must not look new).
 * M2. A bearer that is no longer in force leads to the sign-in screen, whatever else is going on.
 * M3. A stop that was begun is followed to its end, also when the hub ends before it has answered.
 */
import { codeInAddress, follow, forget, Gone, join, kept, Refused, read, tell } from './line.js'
import { problemText } from './words.js'

const LOOK_MS = 10_000
const RETRY_MS = 2000
const STOPPING_MS = 400
/** Events come in bursts. */
const NUDGE_MS = 300

const READS = {
  health: '/v1/health',
  presence: '/v1/presence',
  running: '/v1/tasks?state=running&limit=25',
  tasks: '/v1/tasks?limit=25',
  sessions: '/v1/sessions?limit=100',
  approvals: '/v1/approvals',
  alerts: '/v1/alerts',
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const reasonOf = (thrown) => (thrown instanceof Refused ? problemText(thrown.problem) : 'the hub does not answer')

export function createModel(draw) {
  const state = {
    session: kept(),
    /** Why there is no session: '', or a sentence. */
    signedOut: '',
    isJoining: false,
    /** The hub's clock, as far as this one is off. */
    offsetMs: 0,
    /** When everything was last seen; undefined before the first look. */
    seenAtMs: undefined,
    isGone: false,
    isLive: false,
    /** What the last look could not have, in words. */
    problem: '',
    seen: {},
    beat: { isBusy: false, answer: undefined, problem: '' },
    /** Approvals that are being answered, and what came of it. */
    answers: {},
    /** What a button asked for, by its name: { isBusy, problem }. */
    acts: {},
    /** The task that is looked at: { id, isBusy, problem, task, lines }. */
    open: undefined,
    /** undefined, or { stage: 'ask' | 'stopping' | 'ended', ... }. */
    stop: undefined,
  }
  let wake = () => undefined
  let run = 0

  const change = (patch) => {
    Object.assign(state, patch)
    draw()
  }
  const nowMs = () => Date.now() + state.offsetMs
  /** As far as this page's own stop came: to an end, not to a refusal. */
  const hasStopped = () => state.stop?.stage === 'ended' && state.stop.isRefused !== true
  const can = (right) => state.session?.rights.includes(right) === true

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
  /** Whether it was a refusal of the bearer itself. */
  function isOver(thrown) {
    if (!(thrown instanceof Refused) || thrown.status !== 401) return false
    signOut('This console has ended: its time is over, or it was taken back.')
    return true
  }

  /** Whoever does not answer is asked one thing and not seven. */
  const isBack = (secret) =>
    read(secret, READS.health).then(
      () => true,
      (thrown) => !(thrown instanceof Gone),
    )

  async function look() {
    const { secret } = state.session
    const mine = run
    if (state.isGone && !(await isBack(secret))) return
    const asked = Object.entries(READS)
    const said = await Promise.allSettled(asked.map(([, path]) => read(secret, path)))
    if (mine !== run) return
    const failed = said.filter(({ status }) => status === 'rejected').map(({ reason }) => reason)
    if (failed.some(isOver)) return
    const isGone = failed.length === said.length && failed.every((reason) => reason instanceof Gone)
    const seen = { ...state.seen }
    said.forEach(({ value }, at) => {
      if (value !== undefined) seen[asked[at][0]] = value
    })
    const { presence } = seen
    change({
      seen,
      isGone,
      problem: isGone || failed.length === 0 ? '' : reasonOf(failed[0]),
      seenAtMs: failed.length === 0 ? Date.now() : state.seenAtMs,
      offsetMs: said[1].value === undefined ? state.offsetMs : presence.atMs - Date.now(),
      // A hub that had stopped, answers and is not stopping has been started again.
      stop: hasStopped() && !isGone && seen.health?.stopping === null ? undefined : state.stop,
    })
    followOpened()
  }

  /** The opened task; asked for when it is opened and when its state has changed, since each look at a log is a record. */
  async function lookAtTask() {
    const { id } = state.open
    const mine = (patch) => state.open?.id === id && change({ open: { ...state.open, isBusy: false, ...patch } })
    change({ open: { ...state.open, isBusy: true } })
    try {
      const path = `/v1/tasks/${encodeURIComponent(id)}`
      const [{ task }, { lines }] = await Promise.all([
        read(state.session.secret, path),
        read(state.session.secret, `${path}/logs`),
      ])
      mine({ task, lines, problem: '' })
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
      await Promise.race([pause(restMs), new Promise((resolve) => (wake = resolve))])
      if (mine === run && !state.isGone) await pause(NUDGE_MS)
    }
  }
  async function following() {
    const mine = run
    while (mine === run) {
      try {
        await follow(
          state.session.secret,
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
          : thrown.status === 429
            ? 'Too many wrong links were tried. Wait a minute, then make a new one.'
            : 'This link does not count: each works once, for five minutes, and none outlives a restart of the hub.'
      change({ isJoining: false, signedOut: why })
    }
  }

  async function followStop() {
    while (state.stop?.stage === 'stopping') {
      try {
        const health = await read(state.session.secret, READS.health)
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
    leave: () => signOut('You have left. The console ends by itself; `hub device revoke` ends it at once.'),
    async heartbeat() {
      if (state.beat.isBusy) return
      change({ beat: { isBusy: true, answer: undefined, problem: '' } })
      try {
        const answer = await tell(state.session.secret, '/v1/heartbeat', {})
        change({ beat: { isBusy: false, answer, problem: '' } })
      } catch (thrown) {
        if (isOver(thrown)) return
        const problem =
          thrown instanceof Gone ? `${reasonOf(thrown)}; in a terminal: \`hub heartbeat\`` : reasonOf(thrown)
        change({ beat: { isBusy: false, answer: undefined, problem } })
      }
      wake()
    },
    async answer(id, approve, text) {
      change({ answers: { ...state.answers, [id]: { isBusy: true, problem: '' } } })
      try {
        await tell(state.session.secret, `/v1/approvals/${encodeURIComponent(id)}/answer`, { approve, text })
        const left = (state.seen.approvals?.approvals ?? []).filter((one) => one.id !== id)
        change({ seen: { ...state.seen, approvals: { approvals: left } } })
      } catch (thrown) {
        if (isOver(thrown)) return
        change({ answers: { ...state.answers, [id]: { isBusy: false, problem: reasonOf(thrown) } } })
      }
      wake()
    },
    /** The same operation as the command's, by this console's rights. */
    async act(name, path, body) {
      const say = (one) => change({ acts: { ...state.acts, [name]: one } })
      if (state.acts[name]?.isBusy) return
      say({ isBusy: true, problem: '' })
      try {
        await tell(state.session.secret, path, body)
        say({ isBusy: false, problem: '' })
      } catch (thrown) {
        if (isOver(thrown)) return
        say({ isBusy: false, problem: reasonOf(thrown) })
      }
      wake()
    },
    /** Opens it, or closes it where it is open. */
    openTask(id) {
      const isOpen = state.open?.id === id
      change({ open: isOpen ? undefined : { id, isBusy: false, problem: '', task: undefined, lines: [] } })
      if (!isOpen) lookAtTask()
    },
    lookAtTask,
    askStop: () => change({ stop: { stage: 'ask' } }),
    keepRunning: () => change({ stop: undefined }),
    async stopEverything() {
      change({ stop: { stage: 'stopping', requested: 0, confirmed: 0 } })
      followStop()
      try {
        const report = await tell(state.session.secret, '/v1/shutdown', { reason: 'asked for at the console' })
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
